/* The elements that a loop goes over: a selection of a map, in an order. */
#ifndef PYSTAP_ORDER_H
#define PYSTAP_ORDER_H

#include "stat.h"

struct ordering {
	const struct map *map;
	const struct stat_spec *spec; /* of aggregates */
	enum stat_op op;
	int column; /* 0 the value, 1.. a part of the key */
	int direction; /* 1 up, -1 down, 0 as inserted */
	bool text; /* the column is a string */
};

/* What is compared of an element: strings themselves are looked at when two are compared. */
static s64 order_value(const struct ordering *o, const struct map_node *node)
{
	if (o->direction == 0 || o->text)
		return 0;
	if (o->column)
		return *(const s64 *)(node->data + o->map->parts[o->column - 1].offset);
	if (o->spec)
		return stat_extract(o->spec, (const void *)(node->data + o->map->value_at), o->op);
	return *(const s64 *)(node->data + o->map->value_at);
}

static const char *order_text(const struct ordering *o, const struct map_node *node)
{
	if (o->column)
		return node->data + o->map->parts[o->column - 1].offset;
	return node->data + o->map->value_at;
}

/* Whether a comes before b; equal ones stay in order of insertion. */
static bool order_before(const struct ordering *o, const struct sorted *a, const struct sorted *b)
{
	int sign = 0;

	if (o->direction) {
		if (o->text)
			sign = strcmp(order_text(o, a->node), order_text(o, b->node));
		else
			sign = a->value < b->value ? -1 : a->value > b->value;
		if (o->direction < 0)
			sign = -sign;
	}
	return sign ? sign < 0 : a->node->serial < b->node->serial;
}

/* Put element `at` of a heap whose last comes first where it belongs. */
static void order_sink(const struct ordering *o, struct sorted *heap, u32 at, u32 count)
{
	struct sorted moved = heap[at];
	u32 child;

	while ((child = 2 * at + 1) < count) {
		if (child + 1 < count && order_before(o, &heap[child], &heap[child + 1]))
			child++;
		if (!order_before(o, &moved, &heap[child]))
			break;
		heap[at] = heap[child];
		at = child;
	}
	heap[at] = moved;
}

/* Gather the elements that match and sort as many as are wanted; how many there are. */
static u32 order_elements(const struct ordering *o, struct sorted *into, const void *pattern,
			  u32 wanted, s64 limit)
{
	struct map_node *node;
	u32 count = 0, i;

	if (limit <= 0)
		return 0;
	for (node = o->map->first; node; node = node->after) {
		struct sorted found = { order_value(o, node), node };

		if (!map_matches(o->map, node, pattern, wanted))
			continue;
		if (count < limit) {
			into[count++] = found;
			if (o->direction && count == limit)
				for (i = count / 2; i--;)
					order_sink(o, into, i, count);
		} else if (!o->direction) {
			break;
		} else if (order_before(o, &found, &into[0])) {
			into[0] = found;
			order_sink(o, into, 0, count);
		}
	}
	if (!o->direction)
		return count;
	if (count < limit)
		for (i = count / 2; i--;)
			order_sink(o, into, i, count);
	for (i = count; i-- > 1;) {
		struct sorted last = into[i];

		into[i] = into[0];
		into[0] = last;
		order_sink(o, into, 0, i);
	}
	return count;
}

#endif
