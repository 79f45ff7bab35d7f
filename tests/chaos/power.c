/* Preloaded into a server, it takes down what decides whether a 202 outlives a power cut, and plays power cuts.

   Into the file $POWER_LOG goes a line for each of these events, in nanoseconds of the monotonic clock:

     process  began  ended  read   descriptor  what a socket received (its first bytes)
     process  began  ended  wal    descriptor  ids of jobs in what was written to the write-ahead log
     process  began  ended  sync   descriptor  name of the file that was synced
     process  began  ended  send   descriptor  what a socket is about to send (its first bytes), and ids in it

   "began" and "ended" enclose the call, but a "send" is written down before it is done.

   If $POWER_FOLDER is set, it holds what the disk would hold after a power cut at any moment: a file of the store is
   copied there when it was synced, and only then. As a 202 is about to be sent, that is copied once more, under the id
   of the job. SQLite holds its own lock on a file from its last write until the sync is over, so a copy that is made
   within the sync has what was synced and nothing more. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name)) dlsym(RTLD_NEXT, #name))
#define FIRST_BYTES 120
#define LINE 3900 /* one write of less than a page does not mix with those of others */
#define ID_LENGTH 80

typedef struct {
    char text[LINE];
    size_t length;
} Line;

static pthread_mutex_t disk = PTHREAD_MUTEX_INITIALIZER;

static long long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static int is_socket(int descriptor) {
    struct stat status;
    return fstat(descriptor, &status) == 0 && S_ISSOCK(status.st_mode);
}

static int name_of(int descriptor, char *name, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, name, size - 1);
    name[length < 0 ? 0 : length] = 0;
    return length > 0 && name[0] == '/';
}

static int ends_with(const char *text, const char *end) {
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

/* --- the log --- */

static void add(Line *line, const char *format, ...) {
    va_list values;
    va_start(values, format);
    int more = vsnprintf(line->text + line->length, LINE - line->length, format, values);
    va_end(values);
    line->length += more < 0 ? 0 : (size_t) more;
    if (line->length >= LINE) line->length = LINE - 1;
}

static void begin(Line *line, long long began, const char *event, int descriptor) {
    line->length = 0;
    add(line, "%d %lld %lld %s %d ", (int) getpid(), began, now(), event, descriptor);
}

static void end(Line *line) {
    const char *path = getenv("POWER_LOG");
    int saved = errno;
    int log = path ? (int) syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CREAT, 0600) : -1;
    if (log >= 0) {
        if (line->length == LINE - 1) line->length--;
        line->text[line->length++] = '\n';
        syscall(SYS_write, log, line->text, line->length);
        syscall(SYS_close, log);
    }
    errno = saved;
}

static void add_first_bytes(Line *line, const char *data, size_t length) {
    char text[FIRST_BYTES + 1];
    size_t size = length < FIRST_BYTES ? length : FIRST_BYTES;
    for (size_t i = 0; i < size; i++) text[i] = data[i] > ' ' && data[i] < 127 ? data[i] : '_';
    text[size] = 0;
    add(line, "%s ", text);
}

static int id_at(const char *data, size_t length, char *id) {
    size_t size = 4;
    if (length < 30 || memcmp(data, "job_", 4) != 0) return 0;
    while (size < length && size < ID_LENGTH - 1 && (data[size] == '-' || data[size] == '_' ||
           (data[size] >= '0' && data[size] <= '9') || (data[size] >= 'A' && data[size] <= 'Z') ||
           (data[size] >= 'a' && data[size] <= 'z'))) size++;
    memcpy(id, data, size);
    id[size] = 0;
    return size >= 30;
}

static int next_id(const char **data, size_t *length, char *id) {
    while (*length > 0) {
        int found = id_at(*data, *length, id);
        size_t step = found ? strlen(id) : 1;
        *data += step;
        *length -= step;
        if (found) return 1;
    }
    return 0;
}

static void add_ids(Line *line, const char *data, size_t length) {
    char id[ID_LENGTH], last[ID_LENGTH] = "";
    while (next_id(&data, &length, id)) {
        if (strcmp(id, last) != 0) add(line, "%s ", id);
        strcpy(last, id);
    }
}

/* --- what would be left after a power cut --- */

static void copy(const char *from, const char *to) {
    char buffer[65536];
    ssize_t size;
    int source = (int) syscall(SYS_openat, AT_FDCWD, from, O_RDONLY, 0);
    if (source < 0) return;
    int target = (int) syscall(SYS_openat, AT_FDCWD, to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    while (target >= 0 && (size = syscall(SYS_read, source, buffer, sizeof buffer)) > 0)
        syscall(SYS_write, target, buffer, size);
    syscall(SYS_close, source);
    syscall(SYS_close, target);
}

static int lock_disk(const char *folder) {
    char path[4096];
    snprintf(path, sizeof path, "%s/lock", folder);
    pthread_mutex_lock(&disk);
    int lock = (int) syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CREAT, 0600);
    flock(lock, LOCK_EX);
    return lock;
}

static void unlock_disk(int lock) {
    syscall(SYS_close, lock);
    pthread_mutex_unlock(&disk);
}

static void remember_synced(int descriptor, const char *name) {
    const char *folder = getenv("POWER_FOLDER");
    char from[64], to[4096];
    if (!folder || !(ends_with(name, ".db") || ends_with(name, ".db-wal"))) return;
    snprintf(from, sizeof from, "/proc/self/fd/%d", descriptor);
    snprintf(to, sizeof to, "%s/disk%s", folder, strrchr(name, '.'));
    int lock = lock_disk(folder);
    copy(from, to);
    unlock_disk(lock);
}

static void cut_power(const char *id) {
    const char *folder = getenv("POWER_FOLDER");
    const char *ends[] = {".db", ".db-wal"};
    char from[4096], to[4096];
    if (!folder) return;
    int lock = lock_disk(folder);
    for (int i = 0; i < 2; i++) {
        snprintf(from, sizeof from, "%s/disk%s", folder, ends[i]);
        snprintf(to, sizeof to, "%s/%s%s", folder, id, ends[i]);
        copy(from, to);
    }
    unlock_disk(lock);
}

/* --- what happens at a call --- */

static void has_read(long long began, int descriptor, const char *data, ssize_t length) {
    Line line;
    if (length < 4 || memcmp(data, "POST", 4) != 0 || !is_socket(descriptor)) return;
    begin(&line, began, "read", descriptor);
    add_first_bytes(&line, data, (size_t) length);
    end(&line);
}

static void will_send(int descriptor, const char *data, size_t length) {
    char id[ID_LENGTH];
    const char *rest = data;
    size_t left = length;
    Line line;
    if (length < 12 || memcmp(data, "HTTP/1.1 202", 12) != 0 || !is_socket(descriptor)) return;
    if (next_id(&rest, &left, id)) cut_power(id);
    begin(&line, now(), "send", descriptor);
    add_first_bytes(&line, data, length);
    add_ids(&line, data, length);
    end(&line);
}

static void has_written(long long began, int descriptor, const char *data, ssize_t length) {
    char name[4096];
    Line line;
    if (length <= 0 || !name_of(descriptor, name, sizeof name) || !ends_with(name, "-wal")) return;
    begin(&line, began, "wal", descriptor);
    add_ids(&line, data, (size_t) length);
    end(&line);
}

static void has_synced(long long began, int descriptor, int result) {
    char name[4096];
    Line line;
    int saved = errno;
    if (result == 0 && name_of(descriptor, name, sizeof name)) {
        begin(&line, began, "sync", descriptor);
        add(&line, "%s", name);
        end(&line);
        remember_synced(descriptor, name);
    }
    errno = saved;
}

/* --- the calls --- */

ssize_t read(int descriptor, void *data, size_t size) {
    long long began = now();
    ssize_t length = REAL(read)(descriptor, data, size);
    has_read(began, descriptor, data, length);
    return length;
}

ssize_t recv(int descriptor, void *data, size_t size, int flags) {
    long long began = now();
    ssize_t length = REAL(recv)(descriptor, data, size, flags);
    has_read(began, descriptor, data, length);
    return length;
}

ssize_t recvfrom(int descriptor, void *data, size_t size, int flags, struct sockaddr *from, socklen_t *from_size) {
    long long began = now();
    ssize_t length = REAL(recvfrom)(descriptor, data, size, flags, from, from_size);
    has_read(began, descriptor, data, length);
    return length;
}

ssize_t write(int descriptor, const void *data, size_t size) {
    will_send(descriptor, data, size);
    return REAL(write)(descriptor, data, size);
}

ssize_t send(int descriptor, const void *data, size_t size, int flags) {
    will_send(descriptor, data, size);
    return REAL(send)(descriptor, data, size, flags);
}

ssize_t sendto(int descriptor, const void *data, size_t size, int flags, const struct sockaddr *to, socklen_t to_size) {
    will_send(descriptor, data, size);
    return REAL(sendto)(descriptor, data, size, flags, to, to_size);
}

ssize_t writev(int descriptor, const struct iovec *parts, int count) {
    if (count > 0) will_send(descriptor, parts[0].iov_base, parts[0].iov_len);
    return REAL(writev)(descriptor, parts, count);
}

ssize_t sendmsg(int descriptor, const struct msghdr *message, int flags) {
    if (message->msg_iovlen > 0)
        will_send(descriptor, message->msg_iov[0].iov_base, message->msg_iov[0].iov_len);
    return REAL(sendmsg)(descriptor, message, flags);
}

ssize_t pwrite(int descriptor, const void *data, size_t size, off_t place) {
    long long began = now();
    ssize_t length = REAL(pwrite)(descriptor, data, size, place);
    has_written(began, descriptor, data, length);
    return length;
}

ssize_t pwrite64(int descriptor, const void *data, size_t size, off64_t place) {
    long long began = now();
    ssize_t length = REAL(pwrite64)(descriptor, data, size, place);
    has_written(began, descriptor, data, length);
    return length;
}

int fsync(int descriptor) {
    long long began = now();
    int result = REAL(fsync)(descriptor);
    has_synced(began, descriptor, result);
    return result;
}

int fdatasync(int descriptor) {
    long long began = now();
    int result = REAL(fdatasync)(descriptor);
    has_synced(began, descriptor, result);
    return result;
}
