/* Stands between a process and the C library, for the files below MERIDIAN_SHIM_BELOW.
 *
 * - A call fails once with EIO, when a file called `armed-write` or `armed-sync` lies in the folder MERIDIAN_SHIM. The call
 *   removes that file, so every later call would succeed, as after a failed fsync on Linux.
 * - The file `calls` in that folder counts the calls that change a file or a name; its second number says before which of
 *   them the process kills itself, with a write half done. Zero is never.
 * - A process that opens a file beside one called `deadly` aborts.
 * - A process that opens a file waits while a file called `held` lies in MERIDIAN_SHIM. It makes a file `waits` there.
 * - The wall clock is MERIDIAN_SHIM_CLOCK seconds ahead.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static const char *folder, *below;
static volatile uint64_t *calls;
static time_t ahead;

__attribute__((constructor)) static void begin(void) {
    const char *clock = getenv("MERIDIAN_SHIM_CLOCK");
    char path[PATH_MAX];
    folder = getenv("MERIDIAN_SHIM");
    below = getenv("MERIDIAN_SHIM_BELOW");
    ahead = clock ? atol(clock) : 0;
    if (!folder) return;
    snprintf(path, sizeof path, "%s/calls", folder);
    int fd = NEXT(open)(path, O_RDWR);
    if (fd < 0) return;
    void *page = mmap(NULL, 16, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page != MAP_FAILED) calls = page;
    close(fd);
}

static int is_below(const char *path) { return below && path && strncmp(path, below, strlen(below)) == 0; }

static int fd_is_below(int fd) {
    char name[64], path[PATH_MAX];
    if (!below) return 0;
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(name, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return is_below(path);
}

static int at_is_below(int fd, const char *path) { return path[0] == '/' || fd == AT_FDCWD ? is_below(path) : fd_is_below(fd); }

/* Whether the process ends before this call. */
static int ends(void) { return calls && __atomic_add_fetch(&calls[0], 1, __ATOMIC_SEQ_CST) == calls[1]; }

static void die_of(const char *path) {
    char beside[PATH_MAX];
    const char *name = strrchr(path, '/');
    if (!is_below(path) || !name) return;
    snprintf(beside, sizeof beside, "%s/held", folder ? folder : "");
    while (folder && access(beside, F_OK) == 0) {
        char waits[PATH_MAX];
        snprintf(waits, sizeof waits, "%s/waits", folder);
        close(NEXT(open)(waits, O_CREAT | O_WRONLY, 0600));
        usleep(10000);
    }
    snprintf(beside, sizeof beside, "%.*s/deadly", (int)(name - path), path);
    if (strcmp(beside, path) != 0 && access(beside, F_OK) == 0) abort();
}

static void end(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

static int fails(int fd, const char *call) {
    char armed[PATH_MAX];
    if (!folder || !fd_is_below(fd)) return 0;
    snprintf(armed, sizeof armed, "%s/armed-%s", folder, call);
    if (unlink(armed) != 0) return 0;
    errno = EIO;
    return 1;
}

#define STEP(is_concerned) do { if ((is_concerned) && ends()) end(); } while (0)

int fsync(int fd) {
    STEP(fd_is_below(fd));
    return fails(fd, "sync") ? -1 : NEXT(fsync)(fd);
}
int fdatasync(int fd) {
    STEP(fd_is_below(fd));
    return fails(fd, "sync") ? -1 : NEXT(fdatasync)(fd);
}
ssize_t write(int fd, const void *bytes, size_t count) {
    if (fd_is_below(fd) && ends()) { NEXT(write)(fd, bytes, count / 2); end(); }
    return fails(fd, "write") ? -1 : NEXT(write)(fd, bytes, count);
}
ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    if (fd_is_below(fd) && ends()) { NEXT(pwrite)(fd, bytes, count / 2, at); end(); }
    return fails(fd, "write") ? -1 : NEXT(pwrite)(fd, bytes, count, at);
}
ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    if (fd_is_below(fd) && ends()) { NEXT(pwrite64)(fd, bytes, count / 2, at); end(); }
    return fails(fd, "write") ? -1 : NEXT(pwrite64)(fd, bytes, count, at);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    STEP(fd_is_below(fd));
    return fails(fd, "write") ? -1 : NEXT(writev)(fd, parts, count);
}
int ftruncate(int fd, off_t length) { STEP(fd_is_below(fd)); return NEXT(ftruncate)(fd, length); }
int ftruncate64(int fd, off64_t length) { STEP(fd_is_below(fd)); return NEXT(ftruncate64)(fd, length); }
int rename(const char *from, const char *to) { STEP(is_below(to)); return NEXT(rename)(from, to); }
int unlink(const char *path) { STEP(is_below(path)); return NEXT(unlink)(path); }
int rmdir(const char *path) { STEP(is_below(path)); return NEXT(rmdir)(path); }
int mkdir(const char *path, mode_t mode) { STEP(is_below(path)); return NEXT(mkdir)(path, mode); }
int unlinkat(int fd, const char *path, int flags) { STEP(at_is_below(fd, path)); return NEXT(unlinkat)(fd, path, flags); }

/* Opening counts if it can make or empty a file. */
#define OPEN(path, flags, concerned) \
    va_list more; va_start(more, flags); \
    mode_t mode = (flags) & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; va_end(more); \
    STEP(((flags) & (O_CREAT | O_TRUNC)) && (concerned))

int open(const char *path, int flags, ...) { OPEN(path, flags, is_below(path)); die_of(path); return NEXT(open)(path, flags, mode); }
int open64(const char *path, int flags, ...) { OPEN(path, flags, is_below(path)); die_of(path); return NEXT(open64)(path, flags, mode); }

int clock_gettime(clockid_t clock, struct timespec *now) {
    int status = NEXT(clock_gettime)(clock, now);
    if (status == 0 && clock == CLOCK_REALTIME) now->tv_sec += ahead;
    return status;
}
