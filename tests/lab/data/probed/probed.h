/* What the two halves of the module share. */
#ifndef PROBED_H
#define PROBED_H

enum shade { PALE, DARK = 7 };

struct inner {
	int a;
	char b;
};

struct thing {
	unsigned int kind : 3;
	int level : 5;
	unsigned long long wide : 40;
	union {
		long num;
		char *text;
	};
	struct {
		short x, y;
	};
	struct inner list[3];
	enum shade shade;
	struct thing *next;
	char name[12];
};

struct pair {
	int first, second;
};

extern int probed_total;
int probed_other(struct pair pair, int n);

#endif
