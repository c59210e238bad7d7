/* Associative arrays: hash tables whose elements are all made at the start and keep the order of
 * their insertion.  A key is a structure without gaps or with zeroed ones, strings in it padded
 * with NULs, so keys are equal when their bytes are. */
#ifndef PYSTAP_MAP_H
#define PYSTAP_MAP_H

#include "string_ops.h"

struct stap_key_part {
	u16 offset;
	u16 size; /* of a string; 0 for a long */
};

struct stap_map_node {
	struct stap_map_node *chain;
	struct stap_map_node *before, *after; /* in order of insertion */
	u64 serial;
	u32 hash;
	char data[] __aligned(8); /* the key, then the value */
};

struct stap_map {
	const char *name;
	const struct stap_key_part *parts;
	u32 part_count, key_size, value_at, value_size, capacity;
	bool wrap;

	stap_guard_t guard; /* of updates that several may do at once */
	u32 count, mask;
	u64 serial;
	struct stap_map_node **buckets;
	struct stap_map_node *first, *last, *unused;
	char *memory;
};

static u32 stap_map_node_size(const struct stap_map *m)
{
	return (sizeof(struct stap_map_node) + m->value_at + m->value_size + 7) & ~7u;
}

static void stap_map_clear(struct stap_map *m)
{
	struct stap_map_node *node;

	for (node = m->first; node; node = node->after) {
		m->buckets[node->hash & m->mask] = NULL;
		node->chain = m->unused;
		m->unused = node;
	}
	m->first = m->last = NULL;
	m->count = 0;
}

/* All elements of a new map are unused. */
static void stap_map_fill(struct stap_map *m)
{
	u32 i;

	for (i = 0; i < m->capacity; i++) {
		struct stap_map_node *node = (void *)(m->memory + (size_t)i * stap_map_node_size(m));

		node->chain = m->unused;
		m->unused = node;
	}
}

static int stap_map_create(struct stap_map *m)
{
	u32 buckets = 1;

	while (buckets < m->capacity)
		buckets *= 2;
	stap_guard_init(&m->guard);
	m->mask = buckets - 1;
	m->buckets = stap_memory_get((size_t)buckets * sizeof(*m->buckets));
	m->memory = stap_memory_get((size_t)m->capacity * stap_map_node_size(m));
	if (!m->buckets || !m->memory)
		return -ENOMEM;
	stap_map_fill(m);
	return 0;
}

static void stap_map_destroy(struct stap_map *m)
{
	stap_memory_put(m->buckets);
	stap_memory_put(m->memory);
	m->buckets = NULL;
	m->memory = NULL;
}

/* A mix of the key's words (the 64-bit finisher of MurmurHash3 on each). */
static u32 stap_map_hash(const struct stap_map *m, const void *key)
{
	const u64 *word = key;
	u64 hash = m->key_size;
	u32 i;

	for (i = 0; i < m->part_count; i++) {
		const struct stap_key_part *part = &m->parts[i];
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

static struct stap_map_node *stap_map_find_hashed(struct stap_map *m, const void *key, u32 hash)
{
	struct stap_map_node *node = m->buckets[hash & m->mask];

	while (node && (node->hash != hash || memcmp(node->data, key, m->key_size)))
		node = node->chain;
	return node;
}

/* The value of an element, NULL when absent. */
static void *stap_map_find(struct stap_map *m, const void *key)
{
	struct stap_map_node *node = stap_map_find_hashed(m, key, stap_map_hash(m, key));

	return node ? node->data + m->value_at : NULL;
}

static void stap_map_remove(struct stap_map *m, struct stap_map_node *node)
{
	struct stap_map_node **link = &m->buckets[node->hash & m->mask];

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
static void *stap_map_obtain(struct stap_map *m, const void *key)
{
	u32 hash = stap_map_hash(m, key);
	struct stap_map_node *node = stap_map_find_hashed(m, key, hash);

	if (likely(node))
		return node->data + m->value_at;
	if (!m->unused && m->wrap && m->first)
		stap_map_remove(m, m->first);
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

static void stap_map_overflow(struct stap_context *c, const struct stap_map *m, bool declared, int position)
{
	if (declared)
		stap_fault_number(c, position, "Array overflow, check size limit (", m->capacity, 'd',
			     ")");
	else
		stap_fault(c, position, "Array overflow, check MAXMAPENTRIES");
}

static void stap_map_delete(struct stap_map *m, const void *key)
{
	struct stap_map_node *node = stap_map_find_hashed(m, key, stap_map_hash(m, key));

	if (node)
		stap_map_remove(m, node);
}

/* Whether the parts of a key whose bits are set are those of a pattern. */
static bool stap_map_matches(const struct stap_map *m, const struct stap_map_node *node, const void *pattern,
			u32 wanted)
{
	u32 i;

	for (i = 0; i < m->part_count; i++) {
		const struct stap_key_part *part = &m->parts[i];

		if (wanted & 1u << i && memcmp(node->data + part->offset,
					       (const char *)pattern + part->offset,
					       part->size ? part->size : 8))
			return false;
	}
	return true;
}

static bool stap_map_has_matching(const struct stap_map *m, const void *pattern, u32 wanted)
{
	struct stap_map_node *node;

	for (node = m->first; node; node = node->after)
		if (stap_map_matches(m, node, pattern, wanted))
			return true;
	return false;
}

static void stap_map_delete_matching(struct stap_map *m, const void *pattern, u32 wanted)
{
	struct stap_map_node *node, *next;

	for (node = m->first; node; node = next) {
		next = node->after;
		if (stap_map_matches(m, node, pattern, wanted))
			stap_map_remove(m, node);
	}
}

/* Add to an element that several may add to at once; false when there is no room. */
static bool stap_map_add(struct stap_map *m, const void *key, s64 delta)
{
	unsigned long flags __maybe_unused;
	s64 *value;

	stap_guard_take(&m->guard, flags);
	value = stap_map_obtain(m, key);
	if (value)
		*value += delta;
	stap_guard_drop(&m->guard, flags);
	return value;
}

#endif
