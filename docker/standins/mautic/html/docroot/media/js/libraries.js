'use strict';

/** The first element that matches, or null. */
const find = (selector) => document.querySelector(selector);
