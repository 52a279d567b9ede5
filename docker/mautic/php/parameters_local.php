<?php

// Mautic lays this file over local.php: what is given must not be lost to what was built in. The
// image's builder has a file of this name too (docker/mautic/config); it is parameters_own.php here.
require_once '/opt/mautic/environment.php';

$parameters = MauticEnvironment::parameters();
