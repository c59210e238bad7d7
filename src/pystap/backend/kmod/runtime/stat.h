/* Aggregates: what <<< keeps, the extractors, and the tables of histograms. */
#ifndef PYSTAP_STAT_H
#define PYSTAP_STAT_H

#include "map.h"

#define STAP_LOG_BUCKETS 128
#define STAP_LOG_ZERO 64 /* the bucket of 0 */

struct stap_stat_spec {
	u8 log, deviation, shift;
	u32 linear; /* number of buckets, 0 for none */
	s64 start, stop, step;
};

struct stap_aggregate {
	s64 count, sum, min, max, mean, m2;
	s64 buckets[]; /* the logarithmic ones, then the linear ones */
};

static u32 stap_stat_size(const struct stap_stat_spec *spec)
{
	return sizeof(struct stap_aggregate) + 8 * ((spec->log ? STAP_LOG_BUCKETS : 0) + spec->linear);
}

static s64 *stap_stat_linear(const struct stap_stat_spec *spec, struct stap_aggregate *st)
{
	return st->buckets + (spec->log ? STAP_LOG_BUCKETS : 0);
}

static int stap_log_bucket(s64 value)
{
	u64 size = value < 0 ? -(u64)value : (u64)value;
	int bits = size ? 64 - __builtin_clzll(size) : 0;

	return value < 0 ? STAP_LOG_ZERO - bits : STAP_LOG_ZERO + bits;
}

static u32 stap_linear_bucket(const struct stap_stat_spec *spec, s64 value)
{
	u64 bucket;

	if (value < spec->start)
		return 0;
	bucket = ((u64)value - (u64)spec->start) / spec->step + 1;
	return bucket > spec->linear - 1 ? spec->linear - 1 : bucket;
}

static void stap_stat_add(const struct stap_stat_spec *spec, struct stap_aggregate *st, s64 value)
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

		st->mean += stap_divide(delta, st->count);
		st->m2 += delta * (scaled - st->mean);
	}
	if (spec->log)
		st->buckets[stap_log_bucket(value)]++;
	if (spec->linear)
		stap_stat_linear(spec, st)[stap_linear_bucket(spec, value)]++;
}

/* Take the samples of another CPU. */
static void stap_stat_merge(const struct stap_stat_spec *spec, struct stap_aggregate *st, const struct stap_aggregate *other)
{
	u32 i, buckets = (spec->log ? STAP_LOG_BUCKETS : 0) + spec->linear;

	if (!other->count)
		return;
	if (!st->count) {
		memcpy(st, other, stap_stat_size(spec));
		return;
	}
	if (spec->deviation) {
		s64 count = st->count + other->count;
		s64 delta = other->mean - st->mean;

		st->m2 += other->m2 + delta * stap_divide(delta * st->count * other->count, count);
		st->mean += stap_divide(delta * other->count, count);
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
struct stap_scalar_stat {
	const struct stap_stat_spec *spec;
	char *parts;
	char *merged;
	u32 stride;
};

static int stap_scalar_stat_create(struct stap_scalar_stat *s)
{
	s->stride = (stap_stat_size(s->spec) + 63) & ~63u;
	s->parts = stap_memory_get((size_t)s->stride * stap_cpu_count());
	s->merged = stap_memory_get((size_t)s->stride * stap_cpu_count());
	return s->parts && s->merged ? 0 : -ENOMEM;
}

static void stap_scalar_stat_destroy(struct stap_scalar_stat *s)
{
	stap_memory_put(s->parts);
	stap_memory_put(s->merged);
	s->parts = s->merged = NULL;
}

static void stap_scalar_stat_add(struct stap_scalar_stat *s, s64 value)
{
	stap_stat_add(s->spec, (struct stap_aggregate *)(s->parts + (size_t)s->stride * stap_this_cpu()), value);
}

static void stap_scalar_stat_clear(struct stap_scalar_stat *s)
{
	memset(s->parts, 0, (size_t)s->stride * stap_cpu_count());
}

static struct stap_aggregate *stap_scalar_stat_read(struct stap_scalar_stat *s)
{
	struct stap_aggregate *whole = (struct stap_aggregate *)(s->merged + (size_t)s->stride * stap_this_cpu());
	u32 cpu;

	memset(whole, 0, s->stride);
	for (cpu = 0; cpu < stap_cpu_count(); cpu++)
		stap_stat_merge(s->spec, whole, (struct stap_aggregate *)(s->parts + (size_t)s->stride * cpu));
	return whole;
}

/* Add a sample to an element; false when there is no room for it. */
static bool stap_map_stat_add(struct stap_map *m, const struct stap_stat_spec *spec, const void *key, s64 value)
{
	unsigned long flags __maybe_unused;
	struct stap_aggregate *st;

	stap_guard_take(&m->guard, flags);
	st = stap_map_obtain(m, key);
	if (st)
		stap_stat_add(spec, st, value);
	stap_guard_drop(&m->guard, flags);
	return st;
}

enum stap_stat_op { STAP_STAT_COUNT, STAP_STAT_SUM, STAP_STAT_MIN, STAP_STAT_MAX, STAP_STAT_AVG, STAP_STAT_VARIANCE };

/* An extractor; of an empty or absent one only count and sum. */
static s64 stap_stat_extract(const struct stap_stat_spec *spec, const struct stap_aggregate *st, enum stap_stat_op op)
{
	if (!st || !st->count)
		return op == STAP_STAT_MIN ? S64_MAX : op == STAP_STAT_MAX ? S64_MIN : 0;
	switch (op) {
	case STAP_STAT_COUNT:
		return st->count;
	case STAP_STAT_SUM:
		return st->sum;
	case STAP_STAT_MIN:
		return st->min;
	case STAP_STAT_MAX:
		return st->max;
	case STAP_STAT_AVG:
		return stap_divide(st->sum, st->count);
	default:
		return st->count < 2 ? 0 : stap_divide(st->m2, st->count - 1) >> (2 * spec->shift);
	}
}

static bool stap_stat_present(struct stap_context *c, const struct stap_aggregate *st, int position)
{
	if (likely(st && st->count))
		return true;
	stap_fault(c, position, "empty aggregate");
	return false;
}

/* ---- tables of histograms ---- */

struct stap_table {
	const struct stap_stat_spec *spec;
	const s64 *counts;
	bool log;
	int low, high, value_width;
};

static s64 stap_table_value(const struct stap_table *t, int bucket)
{
	if (!t->log)
		return t->spec->start + (bucket - 1) * t->spec->step;
	if (bucket == STAP_LOG_ZERO)
		return 0;
	if (bucket > STAP_LOG_ZERO)
		return (s64)(1ull << (bucket - STAP_LOG_ZERO - 1));
	return -(1ull << (STAP_LOG_ZERO - 1 - bucket));
}

/* What stands in front of a row. */
static u32 stap_table_label(const struct stap_table *t, int bucket, char *at, u32 size)
{
	struct stap_sink s = stap_sink_of(at, size);

	if (!t->log && bucket == 0) {
		stap_put_text(&s, "<");
		stap_put_long(&s, t->spec->start);
	} else if (!t->log && bucket == t->spec->linear - 1) {
		stap_put_text(&s, ">");
		stap_put_long(&s, t->spec->start + (s64)(t->spec->linear - 3) * t->spec->step);
	} else {
		stap_put_long(&s, stap_table_value(t, bucket));
	}
	return s.at - at;
}

static int stap_long_width(s64 value)
{
	char digits[24];
	struct stap_sink s = stap_sink_of(digits, sizeof(digits));

	stap_put_long(&s, value);
	return s.at - digits;
}

static bool stap_table_elides(const struct stap_table *t, int bucket)
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
static void stap_table_range(struct stap_table *t, int buckets)
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
			if (t->low > 0 && t->low != STAP_LOG_ZERO)
				t->low--;
			if (t->high < buckets - 1)
				t->high++;
		}
		t->value_width = max_t(int, 5, stap_long_width(stap_table_value(t, t->low)));
		t->value_width =
			max_t(int, t->value_width, stap_long_width(stap_table_value(t, t->high)));
	} else {
		bool below = t->low == 0, above = t->high == buckets - 1;

		if (!below)
			t->low = max_t(int, t->low - 2, 1);
		if (!above)
			t->high = min_t(int, t->high + 2, buckets - 2);
		t->value_width = max_t(int, 5, stap_long_width(t->spec->start) + below);
		t->value_width = max_t(
			int, t->value_width,
			stap_long_width(t->spec->start + t->spec->step * t->high) + above);
	}
}

static void stap_put_histogram(struct stap_sink *s, const struct stap_stat_spec *spec, const struct stap_aggregate *st,
			  bool log)
{
	int bucket, buckets = log ? STAP_LOG_BUCKETS : spec->linear;
	struct stap_table t = { spec, st->buckets, log, 0, 0, 5 };
	bool skipping = false;
	s64 most = 0, scale;
	int count_end;

	if (!log)
		t.counts = stap_stat_linear(spec, (struct stap_aggregate *)st);
	for (bucket = 0; bucket < buckets; bucket++)
		most = max_t(s64, most, t.counts[bucket]);
	stap_table_range(&t, buckets);
	scale = most <= HIST_WIDTH ? 1 : (most + HIST_WIDTH - 1) / HIST_WIDTH;
	count_end = HIST_WIDTH + 1 + stap_long_width(most);
	stap_put_field(s, "value", 5, t.value_width, false);
	stap_put_text(s, " |");
	stap_put_fill(s, '-', HIST_WIDTH);
	stap_put_text(s, " count\n");
	for (bucket = t.low; bucket <= t.high; bucket++) {
		char label[32];
		s64 bar = t.counts[bucket] / scale;

		if (stap_table_elides(&t, bucket)) {
			if (!skipping) {
				stap_put_fill(s, ' ', t.value_width);
				stap_put_text(s, " ~\n");
			}
			skipping = true;
			continue;
		}
		skipping = false;
		stap_put_field(s, label, stap_table_label(&t, bucket, label, sizeof(label)), t.value_width,
			  false);
		stap_put_text(s, " |");
		stap_put_fill(s, '@', bar);
		stap_put_number(s, t.counts[bucket], 'd', 0, count_end > bar ? count_end - bar : 0,
			   -1);
		stap_put_text(s, "\n");
	}
	stap_put_text(s, "\n");
}

#endif
