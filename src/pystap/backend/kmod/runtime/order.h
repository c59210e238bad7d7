/* The elements that a loop goes over: a selection of a map, in an order. */
#ifndef PYSTAP_ORDER_H
#define PYSTAP_ORDER_H

#include "stat.h"

struct stap_ordering {
	const struct stap_map *map;
	const struct stap_stat_spec *spec; /* of aggregates */
	enum stap_stat_op op;
	int column; /* 0 the value, 1.. a part of the key */
	int direction; /* 1 up, -1 down, 0 as inserted */
	bool text; /* the column is a string */
};

/* What is compared of an element: strings themselves are looked at when two are compared. */
static s64 stap_order_value(const struct stap_ordering *o, const struct stap_map_node *node)
{
	if (o->direction == 0 || o->text)
		return 0;
	if (o->column)
		return *(const s64 *)(node->data + o->map->parts[o->column - 1].offset);
	if (o->spec)
		return stap_stat_extract(o->spec, (const void *)(node->data + o->map->value_at), o->op);
	return *(const s64 *)(node->data + o->map->value_at);
}

static const char *stap_order_text(const struct stap_ordering *o, const struct stap_map_node *node)
{
	if (o->column)
		return node->data + o->map->parts[o->column - 1].offset;
	return node->data + o->map->value_at;
}

/* Whether a comes before b; equal ones stay in order of insertion. */
static bool stap_order_before(const struct stap_ordering *o, const struct stap_sorted *a, const struct stap_sorted *b)
{
	int sign = 0;

	if (o->direction) {
		if (o->text)
			sign = strcmp(stap_order_text(o, a->node), stap_order_text(o, b->node));
		else
			sign = a->value < b->value ? -1 : a->value > b->value;
		if (o->direction < 0)
			sign = -sign;
	}
	return sign ? sign < 0 : a->node->serial < b->node->serial;
}

/* Put element `at` of a heap whose last comes first where it belongs. */
static void stap_order_sink(const struct stap_ordering *o, struct stap_sorted *heap, u32 at, u32 count)
{
	struct stap_sorted moved = heap[at];
	u32 child;

	while ((child = 2 * at + 1) < count) {
		if (child + 1 < count && stap_order_before(o, &heap[child], &heap[child + 1]))
			child++;
		if (!stap_order_before(o, &moved, &heap[child]))
			break;
		heap[at] = heap[child];
		at = child;
	}
	heap[at] = moved;
}

/* Gather the elements that match and sort as many as are wanted; how many there are. */
static u32 stap_order_elements(const struct stap_ordering *o, struct stap_sorted *into, const void *pattern,
			  u32 wanted, s64 limit)
{
	struct stap_map_node *node;
	u32 count = 0, i;

	if (limit <= 0)
		return 0;
	for (node = o->map->first; node; node = node->after) {
		struct stap_sorted found = { stap_order_value(o, node), node };

		if (!stap_map_matches(o->map, node, pattern, wanted))
			continue;
		if (count < limit) {
			into[count++] = found;
			if (o->direction && count == limit)
				for (i = count / 2; i--;)
					stap_order_sink(o, into, i, count);
		} else if (!o->direction) {
			break;
		} else if (stap_order_before(o, &found, &into[0])) {
			into[0] = found;
			stap_order_sink(o, into, 0, count);
		}
	}
	if (!o->direction)
		return count;
	if (count < limit)
		for (i = count / 2; i--;)
			stap_order_sink(o, into, i, count);
	for (i = count; i-- > 1;) {
		struct stap_sorted last = into[i];

		into[i] = into[0];
		into[0] = last;
		stap_order_sink(o, into, 0, i);
	}
	return count;
}

#endif
