'use strict';

// Tells a browser test that the scripts were served and ran.
document.documentElement.dataset.standin = 'ready';

// A second click would send the form a second time.
find('form')?.addEventListener('submit', () => {
  find('form button').disabled = true;
});
