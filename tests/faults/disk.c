/* A faulty disk: counts what a process does to files below given folders, and at one of these operations kills the process, tears the
 * write, or lets it fail. Loaded with LD_PRELOAD; off until fault_arm() is called or FAULT_KIND stands in the environment.
 *
 * kill: SIGKILL before the operation. torn: half of a write (or the whole of another operation), then SIGKILL.
 * enospc: from this operation on there is no space left; files can still be removed and renamed. eio: this operation alone fails.
 * count: nothing fails; with a log, each operation is a line of it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { OFF, COUNT, KILL, TORN, ENOSPC_, EIO_ };
enum verdict { GO, FAIL, TEAR };

static enum kind kind = OFF;
static long at = 0, done = 0;
static int full = 0, log_file = -1;
static char roots[4096] = "";

void fault_arm(const char *where, const char *what, long n, const char *log) {
    snprintf(roots, sizeof roots, "%s", where);
    at = n;
    done = full = 0;
    log_file = log && *log ? syscall(SYS_openat, AT_FDCWD, log, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600) : -1;
    kind = !strcmp(what, "kill") ? KILL : !strcmp(what, "torn") ? TORN : !strcmp(what, "enospc") ? ENOSPC_
         : !strcmp(what, "eio") ? EIO_ : !strcmp(what, "count") ? COUNT : OFF;
}

long fault_count(void) { return done; }

__attribute__((constructor)) static void from_environment(void) {
    const char *what = getenv("FAULT_KIND"), *where = getenv("FAULT_ROOTS"), *n = getenv("FAULT_AT");
    if (what && where) fault_arm(where, what, n ? atol(n) : 0, getenv("FAULT_LOG"));
}

static int watched(const char *path) {
    for (const char *root = roots; *root;) {
        size_t length = strcspn(root, ":");
        if (length && !strncmp(path, root, length) && (path[length] == '/' || !path[length])) return 1;
        root += length + (root[length] == ':');
    }
    return 0;
}

static int watched_fd(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, PATH_MAX - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return watched(path);
}

static int watched_at(int dir, const char *name, char *path) {
    if (name[0] == '/') snprintf(path, PATH_MAX, "%s", name);
    else {
        char base[PATH_MAX];
        if (dir == AT_FDCWD) { if (!getcwd(base, sizeof base)) return 0; }
        else { char link[64]; snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
               ssize_t n = readlink(link, base, sizeof base - 1); if (n < 0) return 0; base[n] = 0; }
        if (snprintf(path, PATH_MAX, "%s/%s", base, name) >= PATH_MAX) return 0;
    }
    return watched(path);
}

/* What becomes of an operation; `takes` says whether it needs space. */
static enum verdict judge(const char *name, const char *path, int takes) {
    long now = __sync_add_and_fetch(&done, 1);
    if (log_file >= 0) dprintf(log_file, "%ld %s %s\n", now, name, path);
    if (kind == ENOSPC_ && (full || now == at)) {
        if (now == at) full = 1;
        if (takes) { errno = ENOSPC; return FAIL; }
        return GO;
    }
    if (now != at) return GO;
    if (kind == EIO_) { errno = EIO; return FAIL; }
    if (kind == KILL) kill(getpid(), SIGKILL);
    return kind == TORN ? TEAR : GO;
}

static void die(void) { kill(getpid(), SIGKILL); pause(); }

#define REAL(name) static __typeof__(name) *real; if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)
#define ON(test) char path[PATH_MAX]; int mine = kind != OFF && (test); enum verdict v = GO
#define CALL(what, takes, call) do { if (mine) v = judge(what, path, takes); if (v == FAIL) return -1; \
    __typeof__(call) r = call; if (v == TEAR) die(); return r; } while (0)

ssize_t write(int fd, const void *data, size_t n) {
    REAL(write); ON(watched_fd(fd, path));
    if (mine) v = judge("write", path, 1);
    if (v == FAIL) return -1;
    if (v == TEAR) { real(fd, data, n / 2); die(); }
    return real(fd, data, n);
}
ssize_t pwrite64(int fd, const void *data, size_t n, off64_t where) {
    REAL(pwrite64); ON(watched_fd(fd, path));
    if (mine) v = judge("pwrite", path, 1);
    if (v == FAIL) return -1;
    if (v == TEAR) { real(fd, data, n / 2, where); die(); }
    return real(fd, data, n, where);
}
ssize_t pwrite(int fd, const void *data, size_t n, off_t where) { return pwrite64(fd, data, n, where); }
ssize_t writev(int fd, const struct iovec *parts, int n) { REAL(writev); ON(watched_fd(fd, path)); CALL("writev", 1, real(fd, parts, n)); }
int ftruncate64(int fd, off64_t n) { REAL(ftruncate64); ON(watched_fd(fd, path)); CALL("ftruncate", 1, real(fd, n)); }
int ftruncate(int fd, off_t n) { return ftruncate64(fd, n); }
int posix_fallocate64(int fd, off64_t where, off64_t n) {
    REAL(posix_fallocate64); ON(watched_fd(fd, path));
    if (mine) v = judge("fallocate", path, 1);
    if (v == FAIL) return errno;
    return real(fd, where, n);
}
int posix_fallocate(int fd, off_t where, off_t n) { return posix_fallocate64(fd, where, n); }
int fsync(int fd) { REAL(fsync); ON(watched_fd(fd, path)); CALL("fsync", 0, real(fd)); }
int fdatasync(int fd) { REAL(fdatasync); ON(watched_fd(fd, path)); CALL("fdatasync", 0, real(fd)); }

#define MODE(flags) mode_t mode = 0; if ((flags) & (O_CREAT | O_TMPFILE)) { va_list a; va_start(a, flags); mode = va_arg(a, mode_t); va_end(a); }
#define CHANGES(flags) ((flags) & (O_CREAT | O_TRUNC))
int open64(const char *name, int flags, ...) {
    MODE(flags) REAL(open64); ON(CHANGES(flags) && watched_at(AT_FDCWD, name, path)); CALL("open", 1, real(name, flags, mode));
}
int open(const char *name, int flags, ...) {
    MODE(flags) REAL(open); ON(CHANGES(flags) && watched_at(AT_FDCWD, name, path)); CALL("open", 1, real(name, flags, mode));
}
int openat64(int dir, const char *name, int flags, ...) {
    MODE(flags) REAL(openat64); ON(CHANGES(flags) && watched_at(dir, name, path)); CALL("open", 1, real(dir, name, flags, mode));
}
int openat(int dir, const char *name, int flags, ...) {
    MODE(flags) REAL(openat); ON(CHANGES(flags) && watched_at(dir, name, path)); CALL("open", 1, real(dir, name, flags, mode));
}
int mkdir(const char *name, mode_t mode) { REAL(mkdir); ON(watched_at(AT_FDCWD, name, path)); CALL("mkdir", 1, real(name, mode)); }
int mkdirat(int dir, const char *name, mode_t mode) { REAL(mkdirat); ON(watched_at(dir, name, path)); CALL("mkdir", 1, real(dir, name, mode)); }
int rename(const char *from, const char *to) { REAL(rename); ON(watched_at(AT_FDCWD, to, path)); CALL("rename", 0, real(from, to)); }
int renameat(int a, const char *from, int b, const char *to) { REAL(renameat); ON(watched_at(b, to, path)); CALL("rename", 0, real(a, from, b, to)); }
int link(const char *from, const char *to) { REAL(link); ON(watched_at(AT_FDCWD, to, path)); CALL("link", 1, real(from, to)); }
int linkat(int a, const char *from, int b, const char *to, int flags) {
    REAL(linkat); ON(watched_at(b, to, path)); CALL("link", 1, real(a, from, b, to, flags));
}
int unlink(const char *name) { REAL(unlink); ON(watched_at(AT_FDCWD, name, path)); CALL("unlink", 0, real(name)); }
int unlinkat(int dir, const char *name, int flags) { REAL(unlinkat); ON(watched_at(dir, name, path)); CALL("unlink", 0, real(dir, name, flags)); }
int rmdir(const char *name) { REAL(rmdir); ON(watched_at(AT_FDCWD, name, path)); CALL("rmdir", 0, real(name)); }
