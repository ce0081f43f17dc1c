/* The four-character names of ZRTP (RFC 6189 §5.1.2-5.1.6) for libbzrtp's numbers, which differ between its versions: they
 * are taken from the header that is installed. In: a comma-separated list of names. Out: libbzrtp told to offer these, in
 * this order. Never: a name that this libbzrtp does not know is an error, not skipped. */
#ifndef INTEROP_ALGORITHMS_H
#define INTEROP_ALGORITHMS_H

#include <bzrtp/bzrtp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct algorithm {
	const char *name;
	uint8_t type;
	uint8_t number;
} ALGORITHMS[] = {
    {"S256", ZRTP_HASH_TYPE, ZRTP_HASH_S256},
    {"S384", ZRTP_HASH_TYPE, ZRTP_HASH_S384},
    {"AES1", ZRTP_CIPHERBLOCK_TYPE, ZRTP_CIPHER_AES1},
    {"AES3", ZRTP_CIPHERBLOCK_TYPE, ZRTP_CIPHER_AES3},
    {"HS32", ZRTP_AUTHTAG_TYPE, ZRTP_AUTHTAG_HS32},
    {"HS80", ZRTP_AUTHTAG_TYPE, ZRTP_AUTHTAG_HS80},
    {"DH3k", ZRTP_KEYAGREEMENT_TYPE, ZRTP_KEYAGREEMENT_DH3k},
    {"X255", ZRTP_KEYAGREEMENT_TYPE, ZRTP_KEYAGREEMENT_X255},
    {"X448", ZRTP_KEYAGREEMENT_TYPE, ZRTP_KEYAGREEMENT_X448},
    {"Mult", ZRTP_KEYAGREEMENT_TYPE, ZRTP_KEYAGREEMENT_Mult},
    {"B32 ", ZRTP_SAS_TYPE, ZRTP_SAS_B32},
    {"B256", ZRTP_SAS_TYPE, ZRTP_SAS_B256},
};
enum { ALGORITHM_COUNT = sizeof ALGORITHMS / sizeof *ALGORITHMS, MOST_PER_TYPE = 7 };

static inline const char *algorithm_name(uint8_t type, uint8_t number) {
	for (size_t i = 0; i < ALGORITHM_COUNT; i++) {
		if (ALGORITHMS[i].type == type && ALGORITHMS[i].number == number) return ALGORITHMS[i].name;
	}
	return "????";
}

static inline const struct algorithm *algorithm_named(const char *name) {
	for (size_t i = 0; i < ALGORITHM_COUNT; i++) {
		if (strcmp(ALGORITHMS[i].name, name) == 0) return &ALGORITHMS[i];
	}
	fprintf(stderr, "unknown algorithm '%s'\n", name);
	exit(2);
}

/* Has to be called before bzrtp_initBzrtpContext, which writes the Hello. A type without a name keeps libbzrtp's default. */
static inline void offer_algorithms(bzrtpContext_t *context, const char *names) {
	static const uint8_t types[] = {ZRTP_HASH_TYPE, ZRTP_CIPHERBLOCK_TYPE, ZRTP_AUTHTAG_TYPE, ZRTP_KEYAGREEMENT_TYPE,
	                                ZRTP_SAS_TYPE};
	for (size_t t = 0; t < sizeof types; t++) {
		uint8_t chosen[MOST_PER_TYPE] = {0};
		uint8_t count = 0;
		for (const char *at = names; *at;) {
			char name[5] = "    ";
			size_t length = strcspn(at, ",");
			if (length == 0 || length > 4) fprintf(stderr, "an algorithm has 3 or 4 characters: '%s'\n", at), exit(2);
			memcpy(name, at, length);
			const struct algorithm *algorithm = algorithm_named(name);
			if (algorithm->type == types[t] && count < MOST_PER_TYPE) chosen[count++] = algorithm->number;
			at += length + (at[length] == ',');
		}
		if (count) bzrtp_setSupportedCryptoTypes(context, types[t], chosen, count);
	}
}

/* The eight characters of a message's type, after the 12-octet header and the 4 octets of preamble and length. */
static inline const char *message_type(const uint8_t *packet, size_t length, char type[9]) {
	memset(type, '?', 8);
	type[8] = 0;
	if (length >= 24) memcpy(type, packet + 16, 8);
	for (char *end = type + 7; end > type && *end == ' '; end--) *end = 0;
	return type;
}

#endif
