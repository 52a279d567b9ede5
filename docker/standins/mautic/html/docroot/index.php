<?php

declare(strict_types=1);

require __DIR__.'/app/standin/autoload.php';

(new Standin\Site())->respond();
