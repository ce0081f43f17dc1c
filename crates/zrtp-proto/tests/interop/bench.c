/* What a ZRTP handshake costs in libbzrtp: the figure that the engine's own is compared with.
 *
 * In: the number of handshakes and the algorithms to offer. Out: one JSON line with the median CPU time of a side in
 * nanoseconds. Two contexts in one process pass their packets in memory, with a clock that stands still; the CPU time of the
 * process, from making the contexts to their destruction, is divided by two. One side gets no HelloACK, so that only the
 * other commits.
 * Never: sockets, a cache, waiting.
 *
 *     cc -O2 -Wall -Wextra bench.c -o bench -lbzrtp -lbctoolbox && ./bench 200 DH3k,AES1,S256,HS32,B32
 */
#include "algorithms.h"

#include <time.h>

enum { QUEUE = 64, LARGEST = 2048 };

struct side {
	bzrtpContext_t *context;
	uint32_t ssrc;
	struct side *other;
	int gets_hello_ack;
	int started;
};

static struct {
	struct packet {
		struct side *to;
		uint16_t length;
		uint8_t octets[LARGEST];
	} packets[QUEUE];
	unsigned first, end;
} wire;

static void fail(const char *what) {
	fprintf(stderr, "bench: %s\n", what);
	exit(1);
}

static int send_data(void *from, const uint8_t *octets, uint16_t length) {
	if (wire.end - wire.first == QUEUE || length > LARGEST) fail("a packet finds no place");
	struct packet *packet = &wire.packets[wire.end++ % QUEUE];
	packet->to = ((struct side *)from)->other;
	packet->length = length;
	memcpy(packet->octets, octets, length);
	return 0;
}

static int start_srtp_session(void *side, const bzrtpSrtpSecrets_t *secrets, int32_t verified) {
	(void)secrets, (void)verified;
	((struct side *)side)->started = 1;
	return 0;
}

static void deliver(void) {
	char type[9];
	struct packet *packet = &wire.packets[wire.first++ % QUEUE];
	struct side *to = packet->to;
	if (!to->gets_hello_ack && strcmp(message_type(packet->octets, packet->length, type), "HelloACK") == 0) return;
	bzrtp_processMessage(to->context, to->ssrc, packet->octets, packet->length);
}

static void make(struct side *side, const char *names) {
	static const bzrtpCallbacks_t callbacks = {.bzrtp_sendData = send_data, .bzrtp_startSrtpSession = start_srtp_session};
	side->context = bzrtp_createBzrtpContext();
	if (bzrtp_setCallbacks(side->context, &callbacks)) fail("setCallbacks");
	offer_algorithms(side->context, names);
	if (bzrtp_initBzrtpContext(side->context, side->ssrc)) fail("initBzrtpContext");
	if (bzrtp_setClientData(side->context, side->ssrc, side)) fail("setClientData");
	if (bzrtp_startChannelEngine(side->context, side->ssrc)) fail("startChannelEngine");
}

static void handshake(const char *names) {
	struct side a = {.ssrc = 1, .gets_hello_ack = 1}, b = {.ssrc = 2};
	a.other = &b, b.other = &a;
	wire.first = wire.end = 0;
	make(&a, names);
	make(&b, names);
	bzrtp_iterate(a.context, a.ssrc, 0);
	bzrtp_iterate(b.context, b.ssrc, 0);
	while (wire.first != wire.end) deliver();
	if (!a.started || !b.started) fail("a handshake did not end");
	bzrtp_destroyBzrtpContext(a.context, a.ssrc);
	bzrtp_destroyBzrtpContext(b.context, b.ssrc);
}

static double cpu_ns(void) {
	struct timespec used;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
	return (double)used.tv_sec * 1e9 + (double)used.tv_nsec;
}

static int compare(const void *left, const void *right) {
	double difference = *(const double *)left - *(const double *)right;
	return (difference > 0) - (difference < 0);
}

int main(int count, char **arguments) {
	int handshakes = count == 3 ? atoi(arguments[1]) : 0;
	double *taken = handshakes > 0 ? calloc((size_t)handshakes, sizeof *taken) : NULL;
	if (!taken) {
		fprintf(stderr, "usage: bench HANDSHAKES NAMES\n");
		return 2;
	}
	handshake(arguments[2]); /* tables and lazy symbols are made at the first one */
	for (int i = 0; i < handshakes; i++) {
		double before = cpu_ns();
		handshake(arguments[2]);
		taken[i] = (cpu_ns() - before) / 2;
	}
	qsort(taken, (size_t)handshakes, sizeof *taken, compare);
	printf("{\"handshakes\":%d,\"cpu_ns_per_side\":%.0f}\n", handshakes, taken[handshakes / 2]);
	free(taken);
	return 0;
}
