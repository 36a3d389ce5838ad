/* dataloader_redis/slots.h -- which node of a Redis Cluster has which key; a part of dataloader_redis_cluster.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * A cluster has 16384 slots, and each belongs to one master. A name's slot is a CRC of it, or of its hash tag: what stands
 * between the first brace and the first closing one after it, when that is not empty. Any node says who has which
 * (CLUSTER SLOTS), and refuses what is not its own with the address of who has it (MOVED, ASK). All that is
 * read here comes from outside: numbers, lengths and shapes are checked, and a reply that is wrong in one place is
 * not used at all.
 */
#ifndef DLOAD_I_BACKEND_H
#error "dataloader_redis/slots.h: include dataloader.h with DLOAD_STORE 1 before this header"
#endif

#ifndef DLOAD_REDIS_SLOTS_H
#define DLOAD_REDIS_SLOTS_H

#include "conn.h"

#define DLOAD_REDIS_SLOTS       16384u
#define DLOAD_REDIS_I_NODES     1024u /* masters of one cluster; the authors of Redis say 1000 */
#define DLOAD_REDIS_I_HOST      256u  /* bytes of a host's name with its NUL */
#define DLOAD_REDIS_I_NO_MASTER 0xffffu

/* Where a node is. */
typedef struct dload_redis_address {
    char host[DLOAD_REDIS_I_HOST]; /* a name or an address, IPv6 without brackets */
    int port;
} dload_redis_address;

/* A master, and how it did lately: changed by requests, atomic. */
typedef struct dload_redis_master {
    dload_redis_address at;
    uint64_t pause_until_ns; /* it is left alone until then */
    uint32_t n_failed;       /* attempts to talk to it, in a row */
    uint32_t is_well;        /* 1 = the last one was answered */
} dload_redis_master;

/* Who has which slot. Constant once it is made, but for its masters' health and slots that moved from one of its masters to
 * another, which are atomic; freed with its last user. */
typedef struct dload_redis_map {
    uint32_t n_users; /* under the cluster's mutex */
    uint32_t n_masters;
    uint32_t cap_masters;
    dload_redis_master *masters;
    uint16_t of[DLOAD_REDIS_SLOTS]; /* masters[of[slot]], or DLOAD_REDIS_I_NO_MASTER */
} dload_redis_map;

/* ---- slots ---- */

/* CRC16 as XMODEM has it: x^16 + x^12 + x^5 + 1, the highest bit first. crc is that of what stands before, zero at
 * first. */
DLOAD_I_LOCAL uint32_t dload_redis_i_crc16(uint32_t crc, const char *p, size_t n_bytes)
{
    /* of each half byte */
    static const uint16_t of[16] = {0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50a5, 0x60c6, 0x70e7,
                                    0x8108, 0x9129, 0xa14a, 0xb16b, 0xc18c, 0xd1ad, 0xe1ce, 0xf1ef};
    for (size_t i = 0; i < n_bytes; i++) {
        const uint32_t byte = (unsigned char)p[i];
        crc = ((crc << 4) & 0xffffu) ^ of[(crc >> 12) ^ (byte >> 4)];
        crc = ((crc << 4) & 0xffffu) ^ of[(crc >> 12) ^ (byte & 15)];
    }
    return crc;
}

/* The slot of a name, 0 to 16383, as CLUSTER KEYSLOT says it. Any thread; O(name_bytes). */
DLOAD_I_UNUSED static uint32_t dload_redis_slot(const char *name, size_t name_bytes)
{
    const char *open =
        name_bytes != 0 ? (const char *)memchr(name, '{', name_bytes) : (const char *)NULL;
    if (open != NULL) {
        const size_t rest = name_bytes - (size_t)(open - name) - 1;
        const char *shut = rest != 0 ? (const char *)memchr(open + 1, '}', rest) : NULL;
        if (shut != NULL && shut != open + 1)
            return dload_redis_i_crc16(0, open + 1, (size_t)(shut - open) - 1) % DLOAD_REDIS_SLOTS;
    }
    return dload_redis_i_crc16(0, name, name_bytes) % DLOAD_REDIS_SLOTS;
}

/* ---- addresses ---- */

/* Takes an address that somebody sent. No host = that of whoever sent it. False: it is none. */
DLOAD_I_LOCAL bool dload_redis_i_address(const char *host, size_t host_bytes, long long port,
                                         const char *asked_host, dload_redis_address *to)
{
    if (host_bytes == 0) {
        host = asked_host;
        host_bytes = strlen(asked_host);
    }
    if (host_bytes == 0 || host_bytes >= sizeof to->host || port < 1 || port > 65535)
        return false;
    for (size_t i = 0; i < host_bytes; i++) {
        const char c = host[i];
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && !(c >= '0' && c <= '9') && c != '.' && c != ':' && c != '-' && c != '_' &&
            c != '%') /* fe80::1%eth0 */
            return false;
    }
    memcpy(to->host, host, host_bytes);
    to->host[host_bytes] = '\0';
    to->port = (int)port;
    return true;
}

DLOAD_I_LOCAL bool dload_redis_i_same_address(const dload_redis_address *a,
                                              const dload_redis_address *b)
{
    return a->port == b->port && strcmp(a->host, b->host) == 0;
}

/* Reads what follows the code of an error: "3999 127.0.0.1:6381", behind "MOVED " or "ASK ". False: it is something
 * else. */
DLOAD_I_LOCAL bool dload_redis_i_redirect(const char *p, size_t n, const char *asked_host,
                                          dload_redis_address *to)
{
    uint64_t slot = 0, port = 0;
    const size_t slot_len = dload_redis_i_find(p, n, ' ');
    size_t colon = n; /* the last: an IPv6 address has some of its own */
    while (colon > slot_len && p[colon - 1] != ':')
        colon--;
    return slot_len < n && colon > slot_len + 1 &&
           dload_redis_i_number(p, slot_len, DLOAD_REDIS_SLOTS - 1, &slot) &&
           dload_redis_i_number(p + colon, n - colon, 65535, &port) &&
           dload_redis_i_address(p + slot_len + 1, colon - slot_len - 2, (long long)port,
                                 asked_host, to);
}

/* ---- maps ---- */

DLOAD_I_LOCAL void dload_redis_i_free_map(const dload_env *env, dload_redis_map *map)
{
    if (map == NULL)
        return;
    if (map->masters != NULL)
        dload_i_free(env, map->masters, map->cap_masters * sizeof *map->masters);
    dload_i_free(env, map, sizeof *map);
}

/* Which master is at this address? DLOAD_REDIS_I_NO_MASTER: none. */
DLOAD_I_LOCAL uint32_t dload_redis_i_find_master(const dload_redis_map *map,
                                                 const dload_redis_address *at)
{
    for (uint32_t i = 0; i < map->n_masters; i++) {
        if (dload_redis_i_same_address(&map->masters[i].at, at))
            return i;
    }
    return DLOAD_REDIS_I_NO_MASTER;
}

/* ... it is made one when it is none. DLOAD_EBACKEND: they are too many. */
DLOAD_I_LOCAL dload_status dload_redis_i_add_master(const dload_env *env, dload_redis_map *map,
                                                    const dload_redis_address *at, uint32_t *which)
{
    *which = dload_redis_i_find_master(map, at);
    if (*which != DLOAD_REDIS_I_NO_MASTER)
        return DLOAD_OK;
    if (map->n_masters == DLOAD_REDIS_I_NODES)
        return DLOAD_EBACKEND;
    if (map->n_masters == map->cap_masters) {
        const uint32_t cap = map->cap_masters != 0 ? 2 * map->cap_masters : 4;
        dload_redis_master *grown =
            (dload_redis_master *)dload_i_alloc(env, cap * sizeof *map->masters);
        if (grown == NULL)
            return DLOAD_ENOMEM;
        if (map->masters != NULL) {
            memcpy(grown, map->masters, map->n_masters * sizeof *grown);
            dload_i_free(env, map->masters, map->cap_masters * sizeof *grown);
        }
        map->masters = grown;
        map->cap_masters = cap;
    }
    *which = map->n_masters++;
    memset(&map->masters[*which], 0, sizeof map->masters[*which]);
    map->masters[*which].at = *at;
    return DLOAD_OK;
}

/* A node as CLUSTER SLOTS says it: [host, port, id, [name, value, ...]]. "?" stands for a host's name that nobody
 * configured; its number may be beside it. False: another shape, or no address. */
DLOAD_I_LOCAL bool dload_redis_i_read_node(const redisReply *node, const char *asked_host,
                                           dload_redis_address *to)
{
    if (node->type != REDIS_REPLY_ARRAY || node->elements < 2)
        return false;
    const redisReply *host = node->element[0], *port = node->element[1];
    if ((host->type != REDIS_REPLY_STRING && host->type != REDIS_REPLY_NIL) ||
        port->type != REDIS_REPLY_INTEGER)
        return false;
    const redisReply *more = node->elements > 3 ? node->element[3] : NULL;
    if (host->type == REDIS_REPLY_STRING && host->len == 1 && host->str[0] == '?' && more != NULL &&
        more->type == REDIS_REPLY_ARRAY) {
        for (size_t i = 0; i + 1 < more->elements; i += 2) {
            const redisReply *name = more->element[i], *value = more->element[i + 1];
            if (name->type == REDIS_REPLY_STRING && name->len == 2 &&
                memcmp(name->str, "ip", 2) == 0 && value->type == REDIS_REPLY_STRING)
                host = value;
        }
    }
    return dload_redis_i_address(host->str, host->type == REDIS_REPLY_NIL ? 0 : (size_t)host->len,
                                 port->integer, asked_host, to);
}

/* One range: [first, last, master, replica, ...]. DLOAD_EBACKEND: another shape, or a slot that has a master
 * already, so that all ranges together cost no more than the slots there are. */
DLOAD_I_LOCAL dload_status dload_redis_i_read_range(const dload_env *env, dload_redis_map *map,
                                                    const redisReply *range, const char *asked_host)
{
    dload_redis_address at;
    uint32_t which = 0;
    if (range->type != REDIS_REPLY_ARRAY || range->elements < 3 ||
        range->element[0]->type != REDIS_REPLY_INTEGER ||
        range->element[1]->type != REDIS_REPLY_INTEGER)
        return DLOAD_EBACKEND;
    const long long first = range->element[0]->integer, last = range->element[1]->integer;
    if (first < 0 || last < first || last >= (long long)DLOAD_REDIS_SLOTS ||
        !dload_redis_i_read_node(range->element[2], asked_host, &at))
        return DLOAD_EBACKEND;
    for (long long slot = first; slot <= last; slot++) {
        if (map->of[slot] != DLOAD_REDIS_I_NO_MASTER)
            return DLOAD_EBACKEND;
    }
    dload_status st = dload_redis_i_add_master(env, map, &at, &which);
    for (long long slot = first; slot <= last && st == DLOAD_OK; slot++)
        map->of[slot] = (uint16_t)which;
    return st;
}

/* Reads a reply to CLUSTER SLOTS.
 *
 * asked_host: where it came from, for nodes that do not know their own host. Returns DLOAD_OK and *map, the
 * caller's, without users; DLOAD_EBACKEND: it is no such reply, or says of no slot who has it; DLOAD_ENOMEM. */
DLOAD_I_LOCAL dload_status dload_redis_i_read_map(const dload_env *env, const redisReply *reply,
                                                  const char *asked_host, dload_redis_map **map)
{
    *map = NULL;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements == 0)
        return DLOAD_EBACKEND;
    dload_redis_map *made = (dload_redis_map *)dload_i_alloc(env, sizeof *made);
    if (made == NULL)
        return DLOAD_ENOMEM;
    memset(made, 0, sizeof *made);
    memset(made->of, 0xff, sizeof made->of);
    dload_status st = DLOAD_OK;
    for (size_t i = 0; i < reply->elements && st == DLOAD_OK; i++)
        st = dload_redis_i_read_range(env, made, reply->element[i], asked_host);
    if (st != DLOAD_OK) {
        dload_redis_i_free_map(env, made);
        return st;
    }
    *map = made;
    return DLOAD_OK;
}

DLOAD_I_LOCAL uint32_t dload_redis_i_master_of(const dload_redis_map *map, size_t slot)
{
    return DLOAD_I_LOAD_RELAXED(&map->of[slot]);
}

/* The slot has moved to this address. True: that is news, or the address is not on the map. */
DLOAD_I_LOCAL bool dload_redis_i_map_moved(dload_redis_map *map, size_t slot,
                                           const dload_redis_address *to)
{
    const uint32_t which = dload_redis_i_find_master(map, to);
    if (which == DLOAD_REDIS_I_NO_MASTER)
        return true;
    return __atomic_exchange_n(&map->of[slot], (uint16_t)which, __ATOMIC_RELAXED) != which;
}

/* Do two maps say the same? */
DLOAD_I_LOCAL bool dload_redis_i_same_map(const dload_redis_map *a, const dload_redis_map *b)
{
    uint32_t checked_a = DLOAD_REDIS_I_NO_MASTER, checked_b = DLOAD_REDIS_I_NO_MASTER;
    for (size_t slot = 0; slot < DLOAD_REDIS_SLOTS; slot++) {
        const uint32_t in_a = dload_redis_i_master_of(a, slot);
        const uint32_t in_b = dload_redis_i_master_of(b, slot);
        if (in_a == checked_a && in_b == checked_b)
            continue; /* as the slot before */
        if (in_a == DLOAD_REDIS_I_NO_MASTER || in_b == DLOAD_REDIS_I_NO_MASTER) {
            if (in_a != in_b)
                return false;
        } else if (!dload_redis_i_same_address(&a->masters[in_a].at, &b->masters[in_b].at)) {
            return false;
        }
        checked_a = in_a;
        checked_b = in_b;
    }
    return true;
}

#endif /* DLOAD_REDIS_SLOTS_H */
