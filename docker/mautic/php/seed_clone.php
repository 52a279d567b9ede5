<?php

declare(strict_types=1);

require_once '/opt/mautic/defuse.php';
require_once '/opt/mautic/masking_rules.php';
require_once '/opt/mautic/media.php';
require_once '/opt/mautic/swap.php';
require_once '/opt/mautic/table_copy.php';
require_once '/opt/mautic/turn.php';

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
     * @param string           $seed the seed's database
     * @param Replacement|null $with what changes along with the tables
     * @param bool             $shared whether the branch shares the seed's uploads, in place of a copy
     *
     * @throws Stop when there is no such seed, or it cannot be copied; then the branch's tables are as they were
     */
    public function run(string $seed, ?Replacement $with = null, bool $shared = false): void
    {
        $started = microtime(true);
        $administrator = Administrator::fromEnvironment();
        $tables = $this->tables($seed);
        $swap = new Swap($this->server, $this->database, $this->waiting);
        TableCopy::endOrphans($this->server, $this->parameters);
        $beside = $swap->begin();
        try {
            $rows = $this->copy($seed, $beside, $tables, $administrator, $shared);
            $copied = microtime(true);
            $with?->prepare($beside);
            $swap->finish(with: $with);
        } catch (Stop|PDOException $e) {
            $swap->discard();
            throw $e;
        }
        $this->waiting->say(sprintf('%d rows of %d tables from %s: copied in %.1f s, all in %.1f s', $rows, count($tables), $seed, $copied - $started, microtime(true) - $started));
    }

    /**
     * Copies a seed, defused, when it is this run's turn.
     *
     * @param list<string> $tables
     *
     * @return int how many rows there are
     *
     * @throws Stop when it cannot be copied
     */
    private function copy(string $seed, string $beside, array $tables, Administrator $administrator, bool $shared): int
    {
        $copy = new TableCopy($this->parameters, $this->server, $this->waiting, $seed, $beside, $tables);
        $turn = new Turn($this->server, $this->waiting);
        $turn->take();
        $this->waiting->say("copying {$seed}");
        try {
            $copy->define();
            $defuse = new Defuse($this->server, $this->prefix, (string) $this->parameters['site_url']);
            if ($shared) {
                $defuse->share(Media::SEED);
            }
            $rules = MaskingRules::load('');
            // Queues, tokens and the like stay empty, whatever the seed has of them.
            $rows = $copy->fill(fn (string $table): ?array => $this->isEmpty($rules, $table) ? null : $defuse->selections($table));
            $defuse->finish($administrator);
        } finally {
            $turn->release();
            $this->server->exec('USE '.Source::identifier($this->database));
        }

        return $rows;
    }

    private function isEmpty(MaskingRules $rules, string $table): bool
    {
        return str_starts_with($table, $this->prefix) && $rules->isEmpty(substr($table, strlen($this->prefix)));
    }

    /** @return list<string> the seed's tables, the largest first */
    private function tables(string $seed): array
    {
        $tables = TableCopy::tables($this->server, $seed);
        if ([] !== $missing = array_diff(["{$this->prefix}users", "{$this->prefix}roles", "{$this->prefix}migrations"], $tables)) {
            throw new Stop("the seed {$seed} is not on this server, not for this user, or not whole: it lacks the table ".implode(', ', $missing), Stop::REFUSED, 'seed-missing');
        }

        return $tables;
    }
}
