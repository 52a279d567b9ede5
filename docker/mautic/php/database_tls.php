<?php

declare(strict_types=1);

use Doctrine\DBAL\Driver;
use Doctrine\DBAL\Driver\Connection;
use Doctrine\DBAL\Driver\Middleware;
use Doctrine\DBAL\Driver\Middleware\AbstractDriverMiddleware;

require_once '/opt/mautic/environment.php';

/** Gives every connection that Mautic makes the options that the environment asks for, when it is made. */
final class DatabaseTls implements Middleware
{
    public function wrap(Driver $driver): Driver
    {
        return new class($driver) extends AbstractDriverMiddleware {
            public function connect(array $params): Connection
            {
                $params['driverOptions'] = MauticEnvironment::databaseOptions() + ($params['driverOptions'] ?? []);

                return parent::connect($params);
            }
        };
    }
}
