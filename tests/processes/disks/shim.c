/* Makes one system call of a process fail once with EIO, when a file called `armed-CALL` lies in MERIDIAN_SHIM. The
 * call removes that file, so every later call would succeed, as after a failed fsync on Linux. Only files below
 * MERIDIAN_SHIM_BELOW are concerned. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static int fails(int fd, const char *call) {
    const char *shim = getenv("MERIDIAN_SHIM"), *below = getenv("MERIDIAN_SHIM_BELOW");
    char name[64], path[PATH_MAX], armed[PATH_MAX];
    if (!shim || !below) return 0;
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(name, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    if (strncmp(path, below, strlen(below)) != 0) return 0;
    snprintf(armed, sizeof armed, "%s/armed-%s", shim, call);
    if (unlink(armed) != 0) return 0;
    errno = EIO;
    return 1;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int fsync(int fd) { return fails(fd, "sync") ? -1 : NEXT(fsync)(fd); }
int fdatasync(int fd) { return fails(fd, "sync") ? -1 : NEXT(fdatasync)(fd); }
ssize_t write(int fd, const void *bytes, size_t count) {
    return fails(fd, "write") ? -1 : NEXT(write)(fd, bytes, count);
}
ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    return fails(fd, "write") ? -1 : NEXT(pwrite)(fd, bytes, count, at);
}
ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    return fails(fd, "write") ? -1 : NEXT(pwrite64)(fd, bytes, count, at);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    return fails(fd, "write") ? -1 : NEXT(writev)(fd, parts, count);
}
