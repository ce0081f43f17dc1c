/* Loaded before libc (LD_PRELOAD) into a program that writes to a store: the n-th thing that it does to a file below
 * FAULT_DIR goes wrong. FAULT_AT=n; FAULT_KIND=
 *   kill  the program dies before it        tear  it dies in the middle of it, half of the octets are written
 *   full  from it on the disk is full       fail  it fails, once
 *   lose  the power fails before it: what was not synced is as it was before
 * It says FAULT on standard error if the program lives on. Counted: open to create, write, pwrite, ftruncate, fsync, fdatasync, rename, unlink. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static long done;

static int is(const char *kind) {
    const char *wanted = getenv("FAULT_KIND");
    return wanted && !strcmp(wanted, kind);
}

static int below(const char *path) {
    const char *directory = getenv("FAULT_DIR");
    return directory && !strncmp(path, directory, strlen(directory));
}

static int is_ours(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return below(path);
}

/* What a file held before a write that was not synced yet. */
struct undo {
    struct undo *earlier;
    int fd; /* our own, never closed */
    ino_t file;
    off_t at, size; /* of the file */
    ssize_t length;
    char *content;
};
static struct undo *undos;

static void keep(int fd, off_t at, size_t length) {
    struct stat now;
    if (!is("lose") || fstat(fd, &now)) return;
    struct undo *undo = calloc(1, sizeof *undo);
    if (!undo || !(undo->content = malloc(length + 1))) abort();
    *undo = (struct undo){undos, dup(fd), now.st_ino, at, now.st_size, 0, undo->content};
    char path[64]; /* it may be open for writing only */
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int reader = ((int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open"))(path, O_RDONLY);
    undo->length = pread(reader, undo->content, length, at);
    if (reader < 0 || undo->length < 0) abort();
    undos = undo; /* the reader stays open: closing it would drop the locks on the file */
}

static void synced(int fd) {
    struct stat now;
    if (!is("lose") || fstat(fd, &now)) return;
    for (struct undo **next = &undos; *next;) {
        if ((*next)->file == now.st_ino) *next = (*next)->earlier;
        else next = &(*next)->earlier;
    }
}

static void lose(void) {
    ssize_t (*put)(int, const void *, size_t, off_t) = dlsym(RTLD_NEXT, "pwrite");
    int (*cut)(int, off_t) = dlsym(RTLD_NEXT, "ftruncate");
    for (; undos; undos = undos->earlier) {
        if (put(undos->fd, undos->content, undos->length, undos->at) != undos->length || cut(undos->fd, undos->size)) abort();
    }
    raise(SIGKILL);
}

static int fail_with(int error) {
    static const char said[] = "FAULT\n";
    ssize_t (*real)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    if (real(2, said, sizeof said - 1) < 0) abort();
    errno = error;
    return 1;
}

/* 0: go on. 1: fail with errno. 2: write half, then die. */
static int fault(int takes_room) {
    long at = atol(getenv("FAULT_AT") ? getenv("FAULT_AT") : "0");
    long now = __atomic_add_fetch(&done, 1, __ATOMIC_SEQ_CST);
    if (is("full") && now >= at && takes_room) return fail_with(ENOSPC);
    if (now != at) return 0;
    if (is("fail")) return fail_with(EIO);
    if (is("tear") && takes_room) return 2;
    if (is("lose")) lose();
    if (is("kill") || is("tear")) raise(SIGKILL);
    return 0;
}

#define REAL(name) __typeof__(name) *real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *data, size_t size) {
    REAL(write);
    int ours = is_ours(fd), wrong = ours ? fault(1) : 0;
    if (wrong == 1) return -1;
    if (wrong == 2) { real(fd, data, size / 2); raise(SIGKILL); }
    if (ours) keep(fd, lseek(fd, 0, SEEK_CUR), size);
    return real(fd, data, size);
}

#define PWRITE(name, offset)                                             \
    ssize_t name(int fd, const void *data, size_t size, offset at) {     \
        REAL(name);                                                      \
        int ours = is_ours(fd), wrong = ours ? fault(1) : 0;             \
        if (wrong == 1) return -1;                                       \
        if (wrong == 2) { real(fd, data, size / 2, at); raise(SIGKILL); } \
        if (ours) keep(fd, at, size);                                    \
        return real(fd, data, size, at);                                 \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

#define CUT(name, offset)                                                \
    int name(int fd, offset size) {                                      \
        REAL(name);                                                      \
        int ours = is_ours(fd);                                          \
        struct stat now;                                                 \
        if (ours && fault(0)) return -1;                                 \
        if (ours && !fstat(fd, &now) && now.st_size > size) keep(fd, size, now.st_size - size); \
        return real(fd, size);                                           \
    }
CUT(ftruncate, off_t)
CUT(ftruncate64, off64_t)

#define SYNC(name)                                                       \
    int name(int fd) {                                                   \
        REAL(name);                                                      \
        int ours = is_ours(fd);                                          \
        if (ours && fault(0)) return -1;                                 \
        if (ours) synced(fd);                                            \
        return real(fd);                                                 \
    }
SYNC(fsync)
SYNC(fdatasync)

int unlink(const char *path) { REAL(unlink); return below(path) && fault(0) ? -1 : real(path); }
int rename(const char *from, const char *to) { REAL(rename); return below(to) && fault(0) ? -1 : real(from, to); }

#define OPEN(name)                                                       \
    int name(const char *path, int flags, ...) {                         \
        REAL(name);                                                      \
        va_list more;                                                    \
        va_start(more, flags);                                           \
        mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;        \
        va_end(more);                                                    \
        if (flags & O_CREAT && below(path) && fault(0)) return -1;       \
        return real(path, flags, mode);                                  \
    }
OPEN(open)
OPEN(open64)
