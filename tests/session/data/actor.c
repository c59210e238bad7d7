/* A program that does what its arguments say, one after the other:
   work:N       calls work() N times
   fork:N       N children, one at a time, each of which calls work() once
   vfork:N      the same with the parent's memory
   orphan       a grandchild whose parent has ended calls work(); waits for it
   threads:N    N threads, which end before the next action
   leave:N      N threads that still sleep when the process ends
   exec CMD...  becomes another program
   last-exec CMD...  another thread than the first one does that
   wait         until standard input ends                                                     */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

volatile int worked;

__attribute__((noinline)) void work(void) { worked++; }

static void *briefly(void *unused) { return unused; }

static void *sleeping(void *unused)
{
    pause();
    return unused;
}

static void *executing(void *arguments)
{
    char **argv = arguments;
    execv(argv[0], argv);
    _exit(3);
}

static void end_child(pid_t pid)
{
    if (pid < 0 || waitpid(pid, 0, 0) != pid)
        _exit(1);
}

static void fork_one(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        work();
        _exit(0);
    }
    end_child(pid);
}

static void vfork_one(void)
{
    pid_t pid = vfork();
    if (pid == 0) {
        work();
        _exit(0);
    }
    end_child(pid);
}

static void orphan(void)
{
    int ends[2];
    char byte;
    if (pipe(ends))
        _exit(1);
    pid_t pid = fork();
    if (pid == 0) {
        pid_t parent = getpid();
        if (fork() == 0) {
            while (getppid() == parent)
                usleep(1000);
            work();
        }
        _exit(0);
    }
    close(ends[1]);
    end_child(pid);
    if (read(ends[0], &byte, 1) != 0)
        _exit(1);
    close(ends[0]);
}

static void threads(int count, void *(*body)(void *), int joined)
{
    pthread_t thread[64];
    for (int i = 0; i < count; i++)
        if (pthread_create(&thread[i], 0, body, 0))
            _exit(1);
    for (int i = 0; joined && i < count; i++)
        pthread_join(thread[i], 0);
}

static int is(const char *action, const char *name, int *count)
{
    size_t length = strlen(name);
    if (strncmp(action, name, length) || action[length] != ':')
        return 0;
    *count = atoi(action + length + 1);
    return 1;
}

int main(int argc, char **argv)
{
    char byte;
    for (int i = 1; i < argc; i++) {
        int n = 0;
        if (is(argv[i], "work", &n))
            while (n-- > 0)
                work();
        else if (is(argv[i], "fork", &n))
            while (n-- > 0)
                fork_one();
        else if (is(argv[i], "vfork", &n))
            while (n-- > 0)
                vfork_one();
        else if (is(argv[i], "threads", &n))
            threads(n, briefly, 1);
        else if (is(argv[i], "leave", &n))
            threads(n, sleeping, 0);
        else if (!strcmp(argv[i], "orphan"))
            orphan();
        else if (!strcmp(argv[i], "wait"))
            while (read(0, &byte, 1) > 0)
                ;
        else if (!strcmp(argv[i], "exec")) {
            execv(argv[i + 1], argv + i + 1);
            return 3;
        } else if (!strcmp(argv[i], "last-exec")) {
            pthread_t thread;
            pthread_create(&thread, 0, executing, argv + i + 1);
            pause();
        } else
            return 2;
    }
    return 0;
}
