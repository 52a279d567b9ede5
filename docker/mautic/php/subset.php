<?php

declare(strict_types=1);

require_once '/opt/mautic/source.php';

/**
 * Which rows go along: of so many contacts, and what belongs to them; or of all.
 *
 * Contacts are chosen by a keyed hash of their ids: the same ones with the same salt, and nobody can tell
 * in advance who. Those who have the address of a user of Mautic come first, then some of every segment
 * and every campaign, so that none is empty. Only ids are kept in memory, and only of what is taken.
 */
final class Subset
{
    private const CHUNK = 500;
    /** Rows that are read in one go: about a second's work. */
    private const BATCH = 20_000;

    /** @var array<int, true>|null null: all of them */
    private ?array $contacts = null;
    /** @var array<string, array<int|string, true>> ids of rows, by table: taken, or named by rows that were */
    private array $ids = [];

    public function __construct(private readonly Source $source, private readonly MaskingRules $rules, private readonly Pseudonyms $pseudonyms)
    {
    }

    /**
     * @param int $limit    how many contacts; more if the two others alone are more
     * @param int $perGroup how many of each segment and each campaign at least
     */
    public function choose(int $limit, int $perGroup): void
    {
        $chosen = array_fill_keys(array_map(intval(...), $this->source->column(
            "SELECT l.id FROM {$this->source->quoted('leads')} l JOIN {$this->source->quoted('users')} u ON u.email = l.email")), true);
        foreach (['lead_lists_leads' => 'leadlist_id', 'campaign_leads' => 'campaign_id'] as $table => $group) {
            $chosen += $this->first($perGroup, "SELECT {$group}, lead_id FROM {$this->source->quoted($table)} ORDER BY {$group}");
        }
        foreach ($this->first($limit, "SELECT 0, id FROM {$this->source->quoted('leads')}") as $id => $_) {
            if (count($chosen) >= $limit) {
                break;
            }
            $chosen[$id] = true;
        }
        ksort($chosen);
        $this->contacts = $chosen;
        $this->source->release();
    }

    /** How many contacts were chosen; null for all. */
    public function count(): ?int
    {
        return null === $this->contacts ? null : count($this->contacts);
    }

    /**
     * Reads the rows of a table that go along, in an order that is always the same, and lets go of the
     * table's definition every now and then.
     *
     * @return Generator<list<string|null>>
     */
    public function rows(SourceTable $table): Generator
    {
        $columns = implode(', ', array_map(static fn (SourceColumn $column): string => 't.'.Source::identifier($column->name).('bit' === $column->type ? ' + 0' : ''), $table->columns));
        $select = "SELECT {$columns} FROM ".Source::identifier($table->name).' t';
        $order = implode(', ', array_map(static fn (string $name): string => 't.'.Source::identifier($name), $table->key));
        [$join, $column, $ids] = $this->filter($table);
        if (null !== $ids) {
            foreach (array_chunk(array_keys($ids), self::CHUNK) as $chunk) {
                $in = implode(',', $chunk);
                // Rows of a contact lie together in its index, and in the key's order there.
                yield from $this->source->rows("{$select}{$join} WHERE {$column} IN ({$in}) ORDER BY ".implode(', ', array_filter([$column, $order])));
                $this->source->release();
            }
        } elseif (1 === count($table->key) && $table->columns[$key = $table->positions()[$table->key[0]]]->isNumber()) {
            $after = '';
            do {
                $count = 0;
                foreach ($this->source->rows("{$select}{$after} ORDER BY {$order} LIMIT ".self::BATCH) as $row) {
                    ++$count;
                    $after = " WHERE {$order} > {$row[$key]}";
                    yield $row;
                }
                $this->source->release();
            } while (self::BATCH === $count);
        } else {
            yield from $this->source->rows($select.('' === $order ? '' : " ORDER BY {$order}"));
            $this->source->release();
        }
    }

    /**
     * Returns what looks at the references of a table's rows, changes those that lead nowhere, and keeps
     * the ids that later tables need; null when nothing has to be done.
     *
     * @return Closure(list<string|null>):list<string|null>|null
     */
    public function watch(SourceTable $table): ?Closure
    {
        if (null === $this->contacts) {
            return null;
        }
        $positions = $table->positions();
        $references = array_intersect_key($this->rules->references(), $positions);
        $isReferred = in_array($table->plain, $this->rules->references(), true) && !$this->rules->isNamed($table->plain);
        if (([] === $references || null === $this->rules->contact($table->plain) && null === $this->rules->through($table->plain)) && !$isReferred) {
            return null;
        }

        return function (array $row) use ($positions, $references, $isReferred, $table): array {
            foreach ($references as $column => $target) {
                $id = $row[$positions[$column]];
                if (null !== $id && $this->rules->isNamed($target)) {
                    $this->ids[$target][$id] = true;
                } elseif (null !== $id && !isset($this->ids[$target][$id])) {
                    $row[$positions[$column]] = null;
                }
            }
            if ($isReferred) {
                $this->ids[$table->plain][$row[$positions['id']]] = true;
            }

            return $row;
        };
    }

    /** @return array{string, string, array<int|string, true>|null} a join, the column that is asked for, and the ids; null for all */
    private function filter(SourceTable $table): array
    {
        if (null === $this->contacts) {
            return ['', '', null];
        }
        if ($this->rules->isNamed($table->plain)) {
            return ['', 't.id', $this->sorted($table->plain)];
        }
        if (null !== $contact = $this->rules->contact($table->plain)) {
            return ['', 't.'.Source::identifier($contact), $this->contacts];
        }
        if (null === $through = $this->rules->through($table->plain)) {
            return ['', '', null];
        }
        [$parent, $column] = $through;
        if ($this->rules->isNamed($parent)) {
            return ['', 't.'.Source::identifier($column), $this->sorted($parent)];
        }
        $contact = $this->rules->contact($parent) ?? throw new Stop("{$table->name} belongs to {$parent}, which has no contacts", Stop::WRONG_SETTING);

        return [" JOIN {$this->source->quoted($parent)} p ON p.id = t.".Source::identifier($column), 'p.'.Source::identifier($contact), $this->contacts];
    }

    /** @return array<int|string, true> */
    private function sorted(string $table): array
    {
        $ids = $this->ids[$table] ?? [];
        ksort($ids);

        return $ids;
    }

    /**
     * Chooses ids by their hash.
     *
     * @param string $query for groups and ids, in the order of the groups
     *
     * @return array<int, true> at most $count of each group, best first
     */
    private function first(int $count, string $query): array
    {
        $chosen = [];
        $group = null;
        $best = new SplMaxHeap();
        $take = static function () use (&$chosen, &$best): void {
            $taken = [];
            foreach ($best as [, $id]) {
                $taken[$id] = true;
            }
            // The worst come off a heap first.
            $chosen += array_reverse($taken, true);
            $best = new SplMaxHeap();
        };
        foreach ($this->source->rows($query) as [$of, $id]) {
            if ($of !== $group) {
                $take();
                $group = $of;
            }
            $hash = $this->pseudonyms->hash('subset', (string) $id);
            if (count($best) < $count) {
                $best->insert([$hash, (int) $id]);
            } elseif ($count > 0 && $hash < $best->top()[0]) {
                $best->extract();
                $best->insert([$hash, (int) $id]);
            }
        }
        $take();

        return $chosen;
    }
}
