<?php

declare(strict_types=1);

/**
 * When a job is due: the five fields of crontab(5), in the time zone of the given time.
 *
 * Minute, hour, day of month, month, day of week (0 and 7 are Sunday), each * or ?, a number, a range
 * a-b, a list a,b or a step *\/n, a-b/n, a/n; months and days of the week also by three letters; and
 * @hourly, @daily and so on: what a CronJob of Kubernetes takes, but for @every. As in cron, a day
 * matches when one of the two day fields does, unless one of them starts with *.
 */
final class Schedule
{
    private const FIELDS = [
        ['minute', 0, 59],
        ['hour', 0, 23],
        ['day of month', 1, 31],
        ['month', 1, 12],
        ['day of week', 0, 7],
    ];

    private const SHORTHANDS = [
        '@yearly' => '0 0 1 1 *', '@annually' => '0 0 1 1 *', '@monthly' => '0 0 1 * *', '@weekly' => '0 0 * * 0',
        '@daily' => '0 0 * * *', '@midnight' => '0 0 * * *', '@hourly' => '0 * * * *',
    ];
    private const MONTHS = ['jan' => 1, 'feb' => 2, 'mar' => 3, 'apr' => 4, 'may' => 5, 'jun' => 6, 'jul' => 7, 'aug' => 8, 'sep' => 9, 'oct' => 10, 'nov' => 11, 'dec' => 12];
    private const WEEKDAYS = ['sun' => 0, 'mon' => 1, 'tue' => 2, 'wed' => 3, 'thu' => 4, 'fri' => 5, 'sat' => 6];

    /** @param list<array<int, true>> $fields the matching values of each field */
    private function __construct(private readonly array $fields, private readonly bool $eitherDay)
    {
    }

    /** @throws InvalidArgumentException saying which field of which expression is wrong */
    public static function parse(string $expression): self
    {
        $texts = preg_split('/\s+/', trim(self::SHORTHANDS[trim($expression)] ?? $expression));
        if (count($texts) !== count(self::FIELDS)) {
            throw new InvalidArgumentException("the schedule '{$expression}' must have five fields: minute hour day-of-month month day-of-week");
        }
        $fields = [];
        foreach (self::FIELDS as $i => [$name, $low, $high]) {
            $texts[$i] = str_replace('?', '*', strtolower($texts[$i]));
            $names = 'month' === $name ? self::MONTHS : ('day of week' === $name ? self::WEEKDAYS : []);
            $numbers = preg_replace_callback('/\b[a-z]+\b/', static fn (array $word): string => (string) ($names[$word[0]] ?? $word[0]), $texts[$i]);
            $fields[] = self::parseField($numbers, $low, $high)
                ?? throw new InvalidArgumentException("the schedule '{$expression}' has a wrong {$name}, '{$texts[$i]}': it must be within {$low}-{$high}");
        }
        if (isset($fields[4][7])) {
            $fields[4][0] = true;
        }

        return new self($fields, '*' !== $texts[2][0] && '*' !== $texts[4][0]);
    }

    public function matches(DateTimeInterface $time): bool
    {
        [$minute, $hour] = array_map('intval', explode(' ', $time->format('i G')));

        return isset($this->fields[0][$minute], $this->fields[1][$hour]) && $this->matchesDay($time);
    }

    /** The first time after the given one; null when there is none within five years, as for 30 February. */
    public function next(DateTimeImmutable $after): ?DateTimeImmutable
    {
        for ($day = $after, $days = 0; $days < 5 * 366; $day = $day->modify('tomorrow'), ++$days) {
            if (!$this->matchesDay($day)) {
                continue;
            }
            foreach (array_keys($this->fields[1]) as $hour) {
                foreach (array_keys($this->fields[0]) as $minute) {
                    $time = $day->setTime($hour, $minute);
                    // An hour that the change of the clocks leaves out becomes another one.
                    if ($time > $after && $this->matches($time)) {
                        return $time;
                    }
                }
            }
        }

        return null;
    }

    private function matchesDay(DateTimeInterface $time): bool
    {
        [$day, $month, $weekday] = array_map('intval', explode(' ', $time->format('j n w')));
        $dayMatches = isset($this->fields[2][$day]);
        $weekdayMatches = isset($this->fields[4][$weekday]);

        return isset($this->fields[3][$month]) && ($this->eitherDay ? $dayMatches || $weekdayMatches : $dayMatches && $weekdayMatches);
    }

    /** @return array<int, true>|null null when the text is no such field */
    private static function parseField(string $text, int $low, int $high): ?array
    {
        $values = [];
        foreach (explode(',', $text) as $part) {
            if (!preg_match('~^(?:(\*)|(\d{1,2})(?:-(\d{1,2}))?)(?:/(\d{1,2}))?$~', $part, $match, PREG_UNMATCHED_AS_NULL)) {
                return null;
            }
            [, $any, $first, $last, $step] = $match;
            $from = null !== $any ? $low : (int) $first;
            $to = null !== $any || (null === $last && null !== $step) ? $high : (int) ($last ?? $first);
            $by = (int) ($step ?? 1);
            if ($from < $low || $to > $high || $from > $to || $by < 1) {
                return null;
            }
            for ($value = $from; $value <= $to; $value += $by) {
                $values[$value] = true;
            }
        }
        ksort($values);

        return $values;
    }
}
