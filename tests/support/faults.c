// SPDX-License-Identifier: Apache-2.0
/* Preloaded into a process: counts what it writes, renames and syncs below a folder, and at a chosen call
   kills it, sends it a signal, fills the disk or takes the folder away. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum { NOTHING, SIGNAL, FULL, VANISH };

static char folder[PATH_MAX];
static int kind, number;
static long chosen;
static atomic_long calls;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

void fault_arm(const char *below, int what, int signal_number, long at) {
    snprintf(folder, sizeof folder, "%s/", below);
    kind = what, number = signal_number, chosen = at, calls = 0;
}

long fault_calls(void) { return calls; }

/* Whether the call has to fail, as the disk is full. */
static int fails(const char *path) {
    if (!*folder || strncmp(path, folder, strlen(folder)) != 0) return 0;
    long call = ++calls;
    if (kind == FULL && call >= chosen) {
        errno = ENOSPC;
        return 1;
    }
    if (call == chosen && kind == SIGNAL) raise(number);
    if (call == chosen && kind == VANISH) {
        char here[PATH_MAX], gone[PATH_MAX + 8];
        snprintf(here, sizeof here, "%.*s", (int)strlen(folder) - 1, folder);
        snprintf(gone, sizeof gone, "%s.gone", here);
        REAL(rename)(here, gone);
    }
    return 0;
}

static int fails_at(int file) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 2);
    if (length < 0) return 0;
    path[length] = '/'; /* the folder itself counts, too */
    path[length + 1] = 0;
    return fails(path);
}

ssize_t write(int file, const void *data, size_t size) {
    return fails_at(file) ? -1 : REAL(write)(file, data, size);
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    return fails_at(file) ? -1 : REAL(writev)(file, parts, count);
}

ssize_t pwrite(int file, const void *data, size_t size, off_t at) {
    return fails_at(file) ? -1 : REAL(pwrite)(file, data, size, at);
}

ssize_t pwrite64(int file, const void *data, size_t size, off_t at) {
    return fails_at(file) ? -1 : REAL(pwrite64)(file, data, size, at);
}

int rename(const char *from, const char *to) { return fails(from) ? -1 : REAL(rename)(from, to); }

int fsync(int file) { return fails_at(file) ? -1 : REAL(fsync)(file); }

int fdatasync(int file) { return fails_at(file) ? -1 : REAL(fdatasync)(file); }
