/* Aggregates: what <<< keeps, the extractors, and the tables of histograms. */
#ifndef PYSTAP_STAT_H
#define PYSTAP_STAT_H

#include "map.h"

#define LOG_BUCKETS 128
#define LOG_ZERO 64 /* the bucket of 0 */

struct stat_spec {
	u8 log, deviation, shift;
	u32 linear; /* number of buckets, 0 for none */
	s64 start, stop, step;
};

struct aggregate {
	s64 count, sum, min, max, mean, m2;
	s64 buckets[]; /* the logarithmic ones, then the linear ones */
};

static u32 stat_size(const struct stat_spec *spec)
{
	return sizeof(struct aggregate) + 8 * ((spec->log ? LOG_BUCKETS : 0) + spec->linear);
}

static s64 *stat_linear(const struct stat_spec *spec, struct aggregate *st)
{
	return st->buckets + (spec->log ? LOG_BUCKETS : 0);
}

static int log_bucket(s64 value)
{
	u64 size = value < 0 ? -(u64)value : (u64)value;
	int bits = size ? 64 - __builtin_clzll(size) : 0;

	return value < 0 ? LOG_ZERO - bits : LOG_ZERO + bits;
}

static u32 linear_bucket(const struct stat_spec *spec, s64 value)
{
	u64 bucket;

	if (value < spec->start)
		return 0;
	bucket = ((u64)value - (u64)spec->start) / spec->step + 1;
	return bucket > spec->linear - 1 ? spec->linear - 1 : bucket;
}

static void stat_add(const struct stat_spec *spec, struct aggregate *st, s64 value)
{
	if (!st->count++) {
		st->min = S64_MAX;
		st->max = S64_MIN;
	}
	st->sum += value;
	if (value < st->min)
		st->min = value;
	if (value > st->max)
		st->max = value;
	if (spec->deviation) {
		s64 scaled = (u64)value << spec->shift;
		s64 delta = scaled - st->mean;

		st->mean += divide(delta, st->count);
		st->m2 += delta * (scaled - st->mean);
	}
	if (spec->log)
		st->buckets[log_bucket(value)]++;
	if (spec->linear)
		stat_linear(spec, st)[linear_bucket(spec, value)]++;
}

/* Take the samples of another CPU. */
static void stat_merge(const struct stat_spec *spec, struct aggregate *st, const struct aggregate *other)
{
	u32 i, buckets = (spec->log ? LOG_BUCKETS : 0) + spec->linear;

	if (!other->count)
		return;
	if (!st->count) {
		memcpy(st, other, stat_size(spec));
		return;
	}
	if (spec->deviation) {
		s64 count = st->count + other->count;
		s64 delta = other->mean - st->mean;

		st->m2 += other->m2 + delta * divide(delta * st->count * other->count, count);
		st->mean += divide(delta * other->count, count);
	}
	st->count += other->count;
	st->sum += other->sum;
	if (other->min < st->min)
		st->min = other->min;
	if (other->max > st->max)
		st->max = other->max;
	for (i = 0; i < buckets; i++)
		st->buckets[i] += other->buckets[i];
}

/* A scalar aggregate: one part for each CPU, and room to put them together for each. */
struct scalar_stat {
	const struct stat_spec *spec;
	char *parts;
	char *merged;
	u32 stride;
};

static int scalar_stat_create(struct scalar_stat *s)
{
	s->stride = (stat_size(s->spec) + 63) & ~63u;
	s->parts = memory_get((size_t)s->stride * cpu_count());
	s->merged = memory_get((size_t)s->stride * cpu_count());
	return s->parts && s->merged ? 0 : -ENOMEM;
}

static void scalar_stat_destroy(struct scalar_stat *s)
{
	memory_put(s->parts);
	memory_put(s->merged);
	s->parts = s->merged = NULL;
}

static void scalar_stat_add(struct scalar_stat *s, s64 value)
{
	stat_add(s->spec, (struct aggregate *)(s->parts + (size_t)s->stride * this_cpu()), value);
}

static void scalar_stat_clear(struct scalar_stat *s)
{
	memset(s->parts, 0, (size_t)s->stride * cpu_count());
}

static struct aggregate *scalar_stat_read(struct scalar_stat *s)
{
	struct aggregate *whole = (struct aggregate *)(s->merged + (size_t)s->stride * this_cpu());
	u32 cpu;

	memset(whole, 0, s->stride);
	for (cpu = 0; cpu < cpu_count(); cpu++)
		stat_merge(s->spec, whole, (struct aggregate *)(s->parts + (size_t)s->stride * cpu));
	return whole;
}

/* Add a sample to an element; false when there is no room for it. */
static bool map_stat_add(struct map *m, const struct stat_spec *spec, const void *key, s64 value)
{
	unsigned long flags __maybe_unused;
	struct aggregate *st;

	guard_take(&m->guard, flags);
	st = map_obtain(m, key);
	if (st)
		stat_add(spec, st, value);
	guard_drop(&m->guard, flags);
	return st;
}

enum stat_op { STAT_COUNT, STAT_SUM, STAT_MIN, STAT_MAX, STAT_AVG, STAT_VARIANCE };

/* An extractor; of an empty or absent one only count and sum. */
static s64 stat_extract(const struct stat_spec *spec, const struct aggregate *st, enum stat_op op)
{
	if (!st || !st->count)
		return op == STAT_MIN ? S64_MAX : op == STAT_MAX ? S64_MIN : 0;
	switch (op) {
	case STAT_COUNT:
		return st->count;
	case STAT_SUM:
		return st->sum;
	case STAT_MIN:
		return st->min;
	case STAT_MAX:
		return st->max;
	case STAT_AVG:
		return divide(st->sum, st->count);
	default:
		return st->count < 2 ? 0 : divide(st->m2, st->count - 1) >> (2 * spec->shift);
	}
}

static bool stat_present(struct context *c, const struct aggregate *st, int position)
{
	if (likely(st && st->count))
		return true;
	fault(c, position, "empty aggregate");
	return false;
}

/* ---- tables of histograms ---- */

struct table {
	const struct stat_spec *spec;
	const s64 *counts;
	bool log;
	int low, high, value_width;
};

static s64 table_value(const struct table *t, int bucket)
{
	if (!t->log)
		return t->spec->start + (bucket - 1) * t->spec->step;
	if (bucket == LOG_ZERO)
		return 0;
	if (bucket > LOG_ZERO)
		return (s64)(1ull << (bucket - LOG_ZERO - 1));
	return -(1ull << (LOG_ZERO - 1 - bucket));
}

/* What stands in front of a row. */
static u32 table_label(const struct table *t, int bucket, char *at, u32 size)
{
	struct sink s = sink_of(at, size);

	if (!t->log && bucket == 0) {
		put_text(&s, "<");
		put_long(&s, t->spec->start);
	} else if (!t->log && bucket == t->spec->linear - 1) {
		put_text(&s, ">");
		put_long(&s, t->spec->start + (s64)(t->spec->linear - 3) * t->spec->step);
	} else {
		put_long(&s, table_value(t, bucket));
	}
	return s.at - at;
}

static int long_width(s64 value)
{
	char digits[24];
	struct sink s = sink_of(digits, sizeof(digits));

	put_long(&s, value);
	return s.at - digits;
}

static bool table_elides(const struct table *t, int bucket)
{
	int near, from = bucket - HIST_ELISION, to = bucket + HIST_ELISION;

	if (HIST_ELISION < 0)
		return false;
	for (near = from < t->low ? t->low : from; near <= (to > t->high ? t->high : to); near++)
		if (t->counts[near])
			return false;
	return true;
}

/* The rows that are shown, and how wide what stands in front of them is. */
static void table_range(struct table *t, int buckets)
{
	int margin;

	t->low = 0;
	t->high = buckets - 1;
	while (!t->counts[t->low])
		t->low++;
	while (!t->counts[t->high])
		t->high--;
	if (t->log) {
		for (margin = 0; margin < 2; margin++) {
			if (t->low > 0 && t->low != LOG_ZERO)
				t->low--;
			if (t->high < buckets - 1)
				t->high++;
		}
		t->value_width = max_t(int, 5, long_width(table_value(t, t->low)));
		t->value_width =
			max_t(int, t->value_width, long_width(table_value(t, t->high)));
	} else {
		bool below = t->low == 0, above = t->high == buckets - 1;

		if (!below)
			t->low = max_t(int, t->low - 2, 1);
		if (!above)
			t->high = min_t(int, t->high + 2, buckets - 2);
		t->value_width = max_t(int, 5, long_width(t->spec->start) + below);
		t->value_width = max_t(
			int, t->value_width,
			long_width(t->spec->start + t->spec->step * t->high) + above);
	}
}

static void put_histogram(struct sink *s, const struct stat_spec *spec, const struct aggregate *st,
			  bool log)
{
	int bucket, buckets = log ? LOG_BUCKETS : spec->linear;
	struct table t = { spec, st->buckets, log, 0, 0, 5 };
	bool skipping = false;
	s64 most = 0, scale;
	int count_end;

	if (!log)
		t.counts = stat_linear(spec, (struct aggregate *)st);
	for (bucket = 0; bucket < buckets; bucket++)
		most = max_t(s64, most, t.counts[bucket]);
	table_range(&t, buckets);
	scale = most <= HIST_WIDTH ? 1 : (most + HIST_WIDTH - 1) / HIST_WIDTH;
	count_end = HIST_WIDTH + 1 + long_width(most);
	put_field(s, "value", 5, t.value_width, false);
	put_text(s, " |");
	put_fill(s, '-', HIST_WIDTH);
	put_text(s, " count\n");
	for (bucket = t.low; bucket <= t.high; bucket++) {
		char label[32];
		s64 bar = t.counts[bucket] / scale;

		if (table_elides(&t, bucket)) {
			if (!skipping) {
				put_fill(s, ' ', t.value_width);
				put_text(s, " ~\n");
			}
			skipping = true;
			continue;
		}
		skipping = false;
		put_field(s, label, table_label(&t, bucket, label, sizeof(label)), t.value_width,
			  false);
		put_text(s, " |");
		put_fill(s, '@', bar);
		put_number(s, t.counts[bucket], 'd', 0, count_end > bar ? count_end - bar : 0,
			   -1);
		put_text(s, "\n");
	}
	put_text(s, "\n");
}

#endif
