/* A ZRTP endpoint made of libbzrtp, the library of Linphone, for the tests of this crate.
 *
 * In: options (below), UDP on 127.0.0.1, and lines on standard input:
 *     start PORT [HASH]   talk to 127.0.0.1:PORT, whose Hello must have this a=zrtp-hash (RFC 6189 §8.1) if one is given
 *     verified            the people have compared the SAS (bzrtp_SASVerified)
 *     unverified          they have not, or it was wrong (bzrtp_resetSASVerified)
 *     end of file         stop
 * Out: one JSON object a line on standard output: ready, sent, lost, withheld, received, error, message, exported, keys,
 *     secure, end.
 * Exit status: 0 secure, 1 not secure, 2 used wrongly.
 * Never: an address other than loopback. It prints session keys, so it is of use in tests only.
 *
 *     cc -O1 -Wall -Wextra peer.c -o peer -lbzrtp -lbctoolbox -lsqlite3
 */
#include "algorithms.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SSRC = 0x627a7274, TICK_MS = 5 };

enum role { EITHER, INITIATOR, RESPONDER };

static const char USAGE[] =
    "usage: peer [--offer NAMES] [--role initiator|responder] [--cache FILE [--forget]]\n"
    "            [--own-uri URI --peer-uri URI] [--auxiliary HEX] [--loss PERCENT --seed NUMBER] [--timeout SECONDS]\n"
    "  --offer      algorithms in order of preference, such as X255,DH3k,AES1,S256,HS80,HS32,B32\n"
    "  --role       the part to be played; without it both may commit, and RFC 6189 section 4.2 decides\n"
    "  --cache      SQLite file with the retained secrets; without it there is no cache\n"
    "  --forget     lose the retained secrets of the cache first, but not the identity (ZID)\n"
    "  --auxiliary  the auxiliary secret, RFC 6189 section 4.3\n"
    "  --loss       part of the packets sent that get lost, chosen by the seed\n";

static struct {
	const char *offer, *cache, *own_uri, *peer_uri, *auxiliary;
	enum role role;
	bool forget;
	unsigned loss;
	uint64_t seed;
	uint64_t timeout_ms;
} options = {.own_uri = "sip:bzrtp@example.org", .peer_uri = "sip:engine@example.org", .timeout_ms = 30000};

static struct {
	bzrtpContext_t *context;
	sqlite3 *cache;
	int udp;
	unsigned sent, lost;
	enum role role_played;
} peer;

static void wrong_use(const char *what) {
	fprintf(stderr, "peer: %s\n%s", what, USAGE);
	exit(2);
}

static void check(const char *what, int status) {
	if (status == 0) return;
	fprintf(stderr, "peer: %s: 0x%04x\n", what, (unsigned)status);
	exit(2);
}

static uint64_t now_ms(void) {
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* splitmix64: the same seed loses the same packets */
static bool is_lost(void) {
	uint64_t x = options.seed += 0x9e3779b97f4a7c15u;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return (x ^ (x >> 31)) % 100 < options.loss;
}

static void print_hex(const char *name, const uint8_t *bytes, size_t count) {
	printf(",\"%s\":\"", name);
	for (size_t i = 0; i < count; i++) printf("%02x", bytes[i]);
	printf("\"");
}

/* A JSON string of what others wrote: only printable ASCII, the rest as '?'. */
static void print_text(const char *name, const char *text) {
	printf(",\"%s\":\"", name);
	for (; *text; text++) putchar(*text < ' ' || *text > '~' || *text == '"' || *text == '\\' ? '?' : *text);
	printf("\"");
}

static void print_packet(const char *event, const uint8_t *packet, size_t length) {
	char type[9];
	printf("{\"event\":\"%s\"", event);
	print_text("type", message_type(packet, length, type));
	printf(",\"octets\":%zu}\n", length);
}

/* The role is chosen as a network could choose it: who gets no HelloACK never commits, and answers the other's Commit. */
static bool is_withheld(enum role role_without_it, const uint8_t *packet, size_t length) {
	char type[9];
	return options.role == role_without_it && strcmp(message_type(packet, length, type), "HelloACK") == 0;
}

static int send_data(void *unused, const uint8_t *packet, uint16_t length) {
	(void)unused;
	if (is_withheld(INITIATOR, packet, length)) {
		print_packet("withheld", packet, length);
		return 0;
	}
	peer.sent++;
	if (is_lost()) {
		peer.lost++;
		print_packet("lost", packet, length);
		return 0;
	}
	print_packet("sent", packet, length);
	/* an ICMP error of an earlier packet is not ours to report */
	(void)!send(peer.udp, packet, length, 0);
	return 0;
}

static int secrets_available(void *unused, const bzrtpSrtpSecrets_t *secrets, uint8_t part) {
	(void)unused;
	if (part & ZRTP_SRTP_SECRETS_FOR_SENDER) {
		printf("{\"event\":\"keys\",\"direction\":\"sending\"");
		print_hex("key", secrets->selfSrtpKey, secrets->selfSrtpKeyLength);
		print_hex("salt", secrets->selfSrtpSalt, secrets->selfSrtpSaltLength);
		printf("}\n");
	}
	if (part & ZRTP_SRTP_SECRETS_FOR_RECEIVER) {
		printf("{\"event\":\"keys\",\"direction\":\"receiving\"");
		print_hex("key", secrets->peerSrtpKey, secrets->peerSrtpKeyLength);
		print_hex("salt", secrets->peerSrtpSalt, secrets->peerSrtpSaltLength);
		printf("}\n");
	}
	return 0;
}

static int ready_for_exported_keys(void *unused, int zuid, uint8_t role) {
	char label[] = "interoperability";
	uint8_t key[32];
	size_t length = sizeof key;
	(void)unused, (void)zuid, (void)role;
	/* only now: libbzrtp forgets s0 when this returns; after a cache mismatch it does not even call this */
	if (bzrtp_exportKey(peer.context, label, strlen(label), key, &length) == 0) {
		printf("{\"event\":\"exported\"");
		print_text("label", label);
		print_hex("key", key, length);
		printf("}\n");
	}
	return 0;
}

static int start_srtp_session(void *unused, const bzrtpSrtpSecrets_t *secrets, int32_t verified) {
	static const char *const matches[] = {"match", "mismatch", "unset"};
	(void)unused;
	printf("{\"event\":\"secure\"");
	print_text("role", peer.role_played == INITIATOR ? "initiator" : "responder");
	print_text("key_agreement", algorithm_name(ZRTP_KEYAGREEMENT_TYPE, secrets->keyAgreementAlgo));
	print_text("hash", algorithm_name(ZRTP_HASH_TYPE, secrets->hashAlgo));
	print_text("cipher", algorithm_name(ZRTP_CIPHERBLOCK_TYPE, secrets->cipherAlgo));
	print_text("auth_tag", algorithm_name(ZRTP_AUTHTAG_TYPE, secrets->authTagAlgo));
	print_text("sas_type", algorithm_name(ZRTP_SAS_TYPE, secrets->sasAlgo));
	print_text("sas", secrets->sas);
	print_text("auxiliary", secrets->auxSecretMismatch < 3 ? matches[secrets->auxSecretMismatch] : "?");
	printf(",\"verified\":%s,\"cache_mismatch\":%s}\n", verified ? "true" : "false",
	       secrets->cacheMismatch ? "true" : "false");
	return 0;
}

static int status_message(void *unused, uint8_t level, uint8_t id, const char *text) {
	(void)unused;
	printf("{\"event\":\"message\",\"level\":%u,\"id\":%u", level, id);
	print_text("text", text ? text : "");
	printf("}\n");
	return 0;
}

static const char *value(int *at, int count, char **arguments) {
	if (++*at >= count) wrong_use("an option lacks its value");
	return arguments[*at];
}

static void read_options(int count, char **arguments) {
	for (int i = 1; i < count; i++) {
		const char *option = arguments[i];
		if (strcmp(option, "--offer") == 0) options.offer = value(&i, count, arguments);
		else if (strcmp(option, "--cache") == 0) options.cache = value(&i, count, arguments);
		else if (strcmp(option, "--forget") == 0) options.forget = true;
		else if (strcmp(option, "--own-uri") == 0) options.own_uri = value(&i, count, arguments);
		else if (strcmp(option, "--peer-uri") == 0) options.peer_uri = value(&i, count, arguments);
		else if (strcmp(option, "--auxiliary") == 0) options.auxiliary = value(&i, count, arguments);
		else if (strcmp(option, "--loss") == 0) options.loss = (unsigned)atoi(value(&i, count, arguments));
		else if (strcmp(option, "--seed") == 0) options.seed = strtoull(value(&i, count, arguments), NULL, 10);
		else if (strcmp(option, "--timeout") == 0) options.timeout_ms = strtoull(value(&i, count, arguments), NULL, 10) * 1000;
		else if (strcmp(option, "--role") == 0) {
			const char *role = value(&i, count, arguments);
			if (strcmp(role, "initiator") == 0) options.role = INITIATOR;
			else if (strcmp(role, "responder") == 0) options.role = RESPONDER;
			else wrong_use("--role is initiator or responder");
		} else wrong_use("unknown option");
	}
}

static void open_cache(void) {
	if (sqlite3_open(options.cache, &peer.cache) != SQLITE_OK) wrong_use("the cache cannot be opened");
	int status = bzrtp_initCache_lock(peer.cache, NULL);
	if (status != BZRTP_CACHE_SETUP && status != BZRTP_CACHE_UPDATE) check("initCache", status);
	if (options.forget) check("forget", sqlite3_exec(peer.cache, "DELETE FROM zrtp", NULL, NULL, NULL));
	status = bzrtp_setZIDCache(peer.context, peer.cache, options.own_uri, options.peer_uri);
	if (status != BZRTP_CACHE_SETUP) check("setZIDCache", status);
}

static void set_auxiliary(const char *hex) {
	uint8_t secret[256];
	size_t length = strlen(hex) / 2;
	if (length == 0 || length > sizeof secret) wrong_use("--auxiliary has 1 to 256 octets");
	for (size_t i = 0; i < length; i++) {
		if (sscanf(hex + 2 * i, "%2hhx", &secret[i]) != 1) wrong_use("--auxiliary is hexadecimal");
	}
	check("setAuxiliarySharedSecret", bzrtp_setAuxiliarySharedSecret(peer.context, secret, length));
}

static void make_context(void) {
	static const bzrtpCallbacks_t callbacks = {
	    .bzrtp_statusMessage = status_message,
	    .bzrtp_messageLevel = BZRTP_MESSAGE_DEBUG,
	    .bzrtp_sendData = send_data,
	    .bzrtp_srtpSecretsAvailable = secrets_available,
	    .bzrtp_startSrtpSession = start_srtp_session,
	    .bzrtp_contextReadyForExportedKeys = ready_for_exported_keys,
	};
	peer.context = bzrtp_createBzrtpContext();
	check("setCallbacks", bzrtp_setCallbacks(peer.context, &callbacks));
	if (options.cache) open_cache();
	if (options.offer) offer_algorithms(peer.context, options.offer);
	check("initBzrtpContext", bzrtp_initBzrtpContext(peer.context, SSRC));
	if (options.auxiliary) set_auxiliary(options.auxiliary);
}

static struct sockaddr_in loopback(uint16_t port) {
	return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void listen_and_tell(void) {
	struct sockaddr_in address = loopback(0);
	socklen_t length = sizeof address;
	uint8_t hash[80] = {0};
	peer.udp = socket(AF_INET, SOCK_DGRAM, 0);
	check("bind", peer.udp < 0 || bind(peer.udp, (struct sockaddr *)&address, length) != 0);
	check("getsockname", getsockname(peer.udp, (struct sockaddr *)&address, &length));
	check("getSelfHelloHash", bzrtp_getSelfHelloHash(peer.context, SSRC, hash, sizeof hash));
	printf("{\"event\":\"ready\",\"port\":%u,\"hello_hash\":\"%s\"}\n", ntohs(address.sin_port), hash);
}

static void start(const char *port_and_hash) {
	char *hash;
	struct sockaddr_in address = loopback((uint16_t)strtoul(port_and_hash, &hash, 10));
	hash += strspn(hash, " ");
	check("connect", connect(peer.udp, (struct sockaddr *)&address, sizeof address));
	if (*hash) check("setPeerHelloHash", bzrtp_setPeerHelloHash(peer.context, SSRC, (uint8_t *)hash, strlen(hash)));
	check("startChannelEngine", bzrtp_startChannelEngine(peer.context, SSRC));
}

/* Does what a line of standard input asks; false at its end. The lines are short, and written whole. */
static bool obey(void) {
	static char line[256];
	static size_t filled;
	char *end;
	ssize_t count = read(STDIN_FILENO, line + filled, sizeof line - 1 - filled);
	if (count <= 0) return false;
	filled += (size_t)count;
	line[filled] = 0;
	while ((end = strchr(line, '\n'))) {
		*end = 0;
		if (strncmp(line, "start ", 6) == 0) start(line + 6);
		else if (strcmp(line, "verified") == 0) bzrtp_SASVerified(peer.context);
		else if (strcmp(line, "unverified") == 0) bzrtp_resetSASVerified(peer.context);
		else wrong_use("unknown line on standard input");
		filled -= (size_t)(end + 1 - line);
		memmove(line, end + 1, filled + 1);
	}
	return true;
}

static void receive(void) {
	uint8_t packet[2048];
	char type[9];
	ssize_t length = recv(peer.udp, packet, sizeof packet, 0);
	if (length <= 0) return;
	if (is_withheld(RESPONDER, packet, (size_t)length)) return print_packet("withheld", packet, (size_t)length);
	print_packet("received", packet, (size_t)length);
	message_type(packet, (size_t)length, type);
	int status = bzrtp_processMessage(peer.context, SSRC, packet, (uint16_t)length);
	if (status) {
		printf("{\"event\":\"error\",\"code\":\"0x%04x\"", (unsigned)status);
		print_text("type", type);
		printf("}\n");
	} else if (strcmp(type, "DHPart1") == 0) peer.role_played = INITIATOR;
	else if (strcmp(type, "DHPart2") == 0) peer.role_played = RESPONDER;
}

int main(int count, char **arguments) {
	read_options(count, arguments);
	setvbuf(stdout, NULL, _IOLBF, 0);
	make_context();
	listen_and_tell();
	const uint64_t deadline = now_ms() + options.timeout_ms;
	struct pollfd inputs[] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = peer.udp, .events = POLLIN}};
	while (now_ms() < deadline) {
		poll(inputs, 2, TICK_MS);
		if (inputs[0].revents && !obey()) break;
		if (inputs[1].revents) receive();
		bzrtp_iterate(peer.context, SSRC, now_ms());
	}
	bool secure = bzrtp_getChannelStatus(peer.context, SSRC) == BZRTP_CHANNEL_SECURE;
	printf("{\"event\":\"end\",\"secure\":%s,\"sent\":%u,\"lost\":%u}\n", secure ? "true" : "false", peer.sent, peer.lost);
	bzrtp_destroyBzrtpContext(peer.context, SSRC);
	sqlite3_close(peer.cache);
	return secure ? 0 : 1;
}
