/* Preloaded into a server, it makes each sync of a file take $SYNC_MICROSECONDS longer, as on a disk that is no SSD. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

static void wait_for_the_disk(void) {
    const char *text = getenv("SYNC_MICROSECONDS");
    if (text) usleep((useconds_t) atoi(text));
}

int fsync(int descriptor) {
    int (*real)(int) = (int (*)(int)) dlsym(RTLD_NEXT, "fsync");
    wait_for_the_disk();
    return real(descriptor);
}

int fdatasync(int descriptor) {
    int (*real)(int) = (int (*)(int)) dlsym(RTLD_NEXT, "fdatasync");
    wait_for_the_disk();
    return real(descriptor);
}
