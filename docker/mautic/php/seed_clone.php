<?php

declare(strict_types=1);

require_once '/opt/mautic/connections.php';
require_once '/opt/mautic/defuse.php';
require_once '/opt/mautic/masking_rules.php';
require_once '/opt/mautic/source.php';
require_once '/opt/mautic/swap.php';

/**
 * Makes a branch's database from a seed on the same server: masked data of another Mautic, which this
 * one's user may only read.
 *
 * Every table is made by its own definition and filled inside the server, several at a time. The copy is
 * defused before anybody can use it, and takes the place of the branch's tables in one step. Whoever calls
 * holds DatabaseLock.
 */
final class SeedClone
{
    private const CONNECTIONS = 4;
    /** The seed's rows as they are, whatever order tables come in, and no lock on the seed: others read it at the same time. */
    private const OPENING = [
        "SET SESSION foreign_key_checks = 0, unique_checks = 0, sql_mode = 'NO_AUTO_VALUE_ON_ZERO'",
        'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED',
    ];

    private readonly string $database;
    private readonly string $prefix;

    /**
     * @param array<string, mixed> $parameters Mautic's parameters, as in local.php
     * @param PDO                  $server     connected to the branch's database as its own user
     */
    public function __construct(private readonly array $parameters, private readonly PDO $server, private readonly Waiting $waiting)
    {
        $this->database = $parameters['db_name'];
        $this->prefix = (string) $parameters['db_table_prefix'];
    }

    /**
     * @param string $seed the seed's database
     *
     * @throws Stop when there is no such seed, or it cannot be copied; then the branch's tables are as they were
     */
    public function run(string $seed): void
    {
        $started = microtime(true);
        $administrator = Administrator::fromEnvironment();
        $tables = $this->tables($seed);
        $swap = new Swap($this->server, $this->database, $this->waiting);
        $this->endOrphans();
        $copy = $swap->begin();
        $this->waiting->say("copying {$seed}");
        try {
            $this->server->exec('USE '.Source::identifier($copy));
            $this->define($seed, $tables);
            $defuse = new Defuse($this->server, $this->prefix, (string) $this->parameters['site_url']);
            $rows = $this->fill($seed, $copy, $tables, $defuse);
            $copied = microtime(true);
            $defuse->finish($administrator);
        } finally {
            $this->server->exec('USE '.Source::identifier($this->database));
        }
        $swap->finish();
        $this->waiting->say(sprintf('%d rows of %d tables from %s: copied in %.1f s, all in %.1f s', $rows, count($tables), $seed, $copied - $started, microtime(true) - $started));
    }

    /** @return list<string> the seed's tables, the largest first */
    private function tables(string $seed): array
    {
        $found = $this->server->prepare("SELECT table_name FROM information_schema.tables WHERE table_schema = ? AND table_type = 'BASE TABLE' ORDER BY data_length + index_length DESC, table_name");
        $found->execute([$seed]);
        $tables = $found->fetchAll(PDO::FETCH_COLUMN);
        if ([] !== $missing = array_diff(["{$this->prefix}users", "{$this->prefix}roles", "{$this->prefix}migrations"], $tables)) {
            throw new Stop("the seed {$seed} is not on this server, not for this user, or not whole: it lacks the table ".implode(', ', $missing), Stop::REFUSED, 'seed-missing');
        }

        return $tables;
    }

    /**
     * Makes the tables, empty.
     *
     * @param list<string> $tables
     */
    private function define(string $seed, array $tables): void
    {
        foreach (self::OPENING as $statement) {
            $this->server->exec($statement);
        }
        foreach ($tables as $table) {
            $this->waiting->breakOnSignal();
            $this->server->exec($this->server->query('SHOW CREATE TABLE '.Source::identifier($seed).'.'.Source::identifier($table))->fetch(PDO::FETCH_NUM)[1]);
        }
    }

    /**
     * @param list<string> $tables
     *
     * @return int how many rows there are now
     */
    private function fill(string $seed, string $copy, array $tables, Defuse $defuse): int
    {
        [$from, $to] = [Source::identifier($seed), Source::identifier($copy)];
        $rules = MaskingRules::load('');
        $statements = $counts = [];
        foreach ($tables as $table) {
            // Queues, tokens and the like, whatever the seed has of them.
            if (str_starts_with($table, $this->prefix) && $rules->isEmpty(substr($table, strlen($this->prefix)))) {
                continue;
            }
            $name = Source::identifier($table);
            $selections = $defuse->selections($table);
            $statements[] = "INSERT INTO {$to}.{$name} (".implode(', ', array_keys($selections)).') SELECT '.implode(', ', $selections)." FROM {$from}.{$name}";
            $counts[] = 'SELECT '.$this->server->quote($table).", (SELECT COUNT(*) FROM {$from}.{$name}), (SELECT COUNT(*) FROM {$to}.{$name})";
        }
        (new Connections($this->parameters, self::OPENING, self::CONNECTIONS, $this->waiting))->run($statements, $this->server);
        $rows = 0;
        foreach ($this->server->query(implode(' UNION ALL ', $counts))->fetchAll(PDO::FETCH_NUM) as [$table, $before, $after]) {
            if ((int) $before !== (int) $after) {
                throw new Stop("{$table} has {$after} rows, in {$seed} {$before}: the seed has changed on the way", Stop::FAILED);
            }
            $rows += (int) $after;
        }

        return $rows;
    }

    /** A run that was killed may have left statements that still fill its tables. */
    private function endOrphans(): void
    {
        // Without a right to see others', a user sees its own connections.
        $mine = $this->server->query('SHOW FULL PROCESSLIST')->fetchAll(PDO::FETCH_ASSOC);
        $orphans = array_filter($mine, fn (array $each): bool => $each['User'] === $this->parameters['db_user'] && str_starts_with((string) $each['Info'], "INSERT INTO `{$this->database}__n`."));
        Connections::end($this->server, array_map('intval', array_column($orphans, 'Id')));
    }
}
