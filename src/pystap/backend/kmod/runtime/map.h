/* Associative arrays: hash tables whose elements are all made at the start and keep the order of
 * their insertion.  A key is a structure without gaps or with zeroed ones, strings in it padded
 * with NULs, so keys are equal when their bytes are. */
#ifndef PYSTAP_MAP_H
#define PYSTAP_MAP_H

#include "string_ops.h"

struct key_part {
	u16 offset;
	u16 size; /* of a string; 0 for a long */
};

struct map_node {
	struct map_node *chain;
	struct map_node *before, *after; /* in order of insertion */
	u64 serial;
	u32 hash;
	char data[] __aligned(8); /* the key, then the value */
};

struct map {
	const char *name;
	const struct key_part *parts;
	u32 part_count, key_size, value_at, value_size, capacity;
	bool wrap;

	guard_t guard; /* of updates that several may do at once */
	u32 count, mask;
	u64 serial;
	struct map_node **buckets;
	struct map_node *first, *last, *unused;
	char *memory;
};

static u32 map_node_size(const struct map *m)
{
	return (sizeof(struct map_node) + m->value_at + m->value_size + 7) & ~7u;
}

static void map_clear(struct map *m)
{
	u32 i;

	memset(m->buckets, 0, (m->mask + 1) * sizeof(*m->buckets));
	m->first = m->last = m->unused = NULL;
	m->count = 0;
	for (i = 0; i < m->capacity; i++) {
		struct map_node *node = (void *)(m->memory + (size_t)i * map_node_size(m));

		node->chain = m->unused;
		m->unused = node;
	}
}

/* Memory of a map in bytes. */
static size_t map_memory(const struct map *m)
{
	size_t buckets = 1;

	while (buckets < m->capacity)
		buckets *= 2;
	return buckets * sizeof(*m->buckets) + (size_t)m->capacity * map_node_size(m);
}

static int map_create(struct map *m)
{
	u32 buckets = 1;

	while (buckets < m->capacity)
		buckets *= 2;
	guard_init(&m->guard);
	m->mask = buckets - 1;
	m->buckets = memory_get((size_t)buckets * sizeof(*m->buckets));
	m->memory = memory_get((size_t)m->capacity * map_node_size(m));
	if (!m->buckets || !m->memory)
		return -ENOMEM;
	map_clear(m);
	return 0;
}

static void map_destroy(struct map *m)
{
	memory_put(m->buckets);
	memory_put(m->memory);
	m->buckets = NULL;
	m->memory = NULL;
}

/* A mix of the key's words (the 64-bit finisher of MurmurHash3 on each). */
static u32 map_hash(const struct map *m, const void *key)
{
	const u64 *word = key;
	u64 hash = m->key_size;
	u32 i;

	for (i = 0; i < m->part_count; i++) {
		const struct key_part *part = &m->parts[i];
		u32 left = part->size ? part->size : 8;

		word = (const u64 *)((const char *)key + part->offset);
		do {
			hash = (hash ^ *word) * 0xff51afd7ed558ccdull;
			hash ^= hash >> 32;
			if (part->size && left > 8 && !((const char *)word)[7])
				break; /* only NULs from here on */
			word++;
			left -= 8;
		} while (left);
	}
	return hash ^ hash >> 29;
}

static struct map_node *map_find_hashed(struct map *m, const void *key, u32 hash)
{
	struct map_node *node = m->buckets[hash & m->mask];

	while (node && (node->hash != hash || memcmp(node->data, key, m->key_size)))
		node = node->chain;
	return node;
}

/* The value of an element, NULL when absent. */
static void *map_find(struct map *m, const void *key)
{
	struct map_node *node = map_find_hashed(m, key, map_hash(m, key));

	return node ? node->data + m->value_at : NULL;
}

static void map_remove(struct map *m, struct map_node *node)
{
	struct map_node **link = &m->buckets[node->hash & m->mask];

	while (*link != node)
		link = &(*link)->chain;
	*link = node->chain;
	if (node->before)
		node->before->after = node->after;
	else
		m->first = node->after;
	if (node->after)
		node->after->before = node->before;
	else
		m->last = node->before;
	node->chain = m->unused;
	m->unused = node;
	m->count--;
}

/* The value of an element, made empty when absent; NULL when there is no room. */
static void *map_obtain(struct map *m, const void *key)
{
	u32 hash = map_hash(m, key);
	struct map_node *node = map_find_hashed(m, key, hash);

	if (likely(node))
		return node->data + m->value_at;
	if (!m->unused && m->wrap && m->first)
		map_remove(m, m->first);
	node = m->unused;
	if (!node)
		return NULL;
	m->unused = node->chain;
	node->hash = hash;
	node->serial = m->serial++;
	memcpy(node->data, key, m->key_size);
	memset(node->data + m->value_at, 0, m->value_size);
	node->chain = m->buckets[hash & m->mask];
	m->buckets[hash & m->mask] = node;
	node->before = m->last;
	node->after = NULL;
	if (m->last)
		m->last->after = node;
	else
		m->first = node;
	m->last = node;
	m->count++;
	return node->data + m->value_at;
}

static void map_overflow(struct context *c, const struct map *m, bool declared, int position)
{
	if (declared)
		fault_number(c, position, "Array overflow, check size limit (", m->capacity, 'd',
			     ")");
	else
		fault(c, position, "Array overflow, check MAXMAPENTRIES");
}

static void map_delete(struct map *m, const void *key)
{
	struct map_node *node = map_find_hashed(m, key, map_hash(m, key));

	if (node)
		map_remove(m, node);
}

/* Whether the parts of a key whose bits are set are those of a pattern. */
static bool map_matches(const struct map *m, const struct map_node *node, const void *pattern,
			u32 wanted)
{
	u32 i;

	for (i = 0; i < m->part_count; i++) {
		const struct key_part *part = &m->parts[i];

		if (wanted & 1u << i && memcmp(node->data + part->offset,
					       (const char *)pattern + part->offset,
					       part->size ? part->size : 8))
			return false;
	}
	return true;
}

static bool map_has_matching(const struct map *m, const void *pattern, u32 wanted)
{
	struct map_node *node;

	for (node = m->first; node; node = node->after)
		if (map_matches(m, node, pattern, wanted))
			return true;
	return false;
}

static void map_delete_matching(struct map *m, const void *pattern, u32 wanted)
{
	struct map_node *node, *next;

	for (node = m->first; node; node = next) {
		next = node->after;
		if (map_matches(m, node, pattern, wanted))
			map_remove(m, node);
	}
}

/* Add to an element that several may add to at once; false when there is no room. */
static bool map_add(struct map *m, const void *key, s64 delta)
{
	unsigned long flags __maybe_unused;
	s64 *value;

	guard_take(&m->guard, flags);
	value = map_obtain(m, key);
	if (value)
		*value += delta;
	guard_drop(&m->guard, flags);
	return value;
}

#endif
