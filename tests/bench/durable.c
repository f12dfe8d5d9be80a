/* Makes a program that writes files as safe as the node: what it closes is synced first, the file and the
 * folder that names it. Loaded before the C library (LD_PRELOAD) into dcmtk's storescp, which has no such option.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void sync_folder(int file)
{
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0)
        return;
    path[length] = 0;
    char *end = strrchr(path, '/');
    if (end == NULL)
        return;
    *end = 0;
    int folder = open(path, O_RDONLY | O_DIRECTORY);
    if (folder >= 0) {
        fsync(folder);
        close(folder);
    }
}

int fclose(FILE *stream)
{
    static int (*closes)(FILE *);
    if (closes == NULL)
        closes = (int (*)(FILE *))dlsym(RTLD_NEXT, "fclose");
    int file = fileno(stream);
    struct stat about;
    if ((fcntl(file, F_GETFL) & O_ACCMODE) != O_RDONLY && fstat(file, &about) == 0 && S_ISREG(about.st_mode)) {
        fflush(stream);
        fsync(file);
        sync_folder(file);
    }
    return closes(stream);
}
