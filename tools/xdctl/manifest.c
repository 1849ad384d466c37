/* tools/xdctl/manifest.c - see manifest.h.
 *
 * Each pod is one `xdctl join`. Its user is not root, its root folder cannot be written, it has no capabilities and no token for Kubernetes itself: tests are code of
 * others. What tests write goes to folders that end with the pod.
 * A pod that fails is replaced, in all as often as there are pods: its run goes on without it meanwhile. */
#include "tools/xdctl/manifest.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/shared/tool.h"

#define NAME "xd-join" /* of the Job, and of the Secret */
#define KEY "token"    /* in it */
#define REPLICAS_MOST 3000u
#define WORKERS_MOST 1024u
#define USER 1000
#define DRAIN_MORE_S 30 /* beyond the drain time, before Kubernetes kills a pod */
#define KEPT_S 3600     /* a Job that has ended */

static int bad(char *err, const char *option, const char *value, const char *want)
{
    snprintf(err, XD_TEXT, "--%s %.100s: %s", option, value, want);
    return XD_EXIT_USAGE;
}

static int read_number(const char *option, const char *text, unsigned most, unsigned *ret, char *err)
{
    char          want[64];
    char         *end = NULL;
    unsigned long n = 0;
    errno = 0;
    if (text && isdigit((unsigned char)text[0]))
        n = strtoul(text, &end, 10);
    if (text && (n == 0 || n > most || *end || errno)) {
        snprintf(want, sizeof(want), "a number from 1 to %u is expected", most);
        return bad(err, option, text, want);
    }
    *ret = text ? (unsigned)n : 1;
    return 0;
}

/* Letters, digits and these: nothing that Kubernetes would expand, as $(NAME). */
static int is_plain(const char *text, const char *marks)
{
    for (const char *c = text; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr(marks, *c))
            return 0;
    return *text != 0 && *text != '-';
}

static int check_words(const joining_words *j, const manifest_words *w, char *err)
{
    if (j->keys || j->token_file) {
        snprintf(err, XD_TEXT, "--%s: the pods have a token, from a Secret", j->keys ? "keys" : "token-file");
        return XD_EXIT_USAGE;
    }
    if (!w->image) {
        snprintf(
            err, XD_TEXT,
            "--manifest: --image IMAGE says which image the pods run: one with xdctl, its agent and Python");
        return XD_EXIT_USAGE;
    }
    if (!is_plain(w->image, ".-_/:@"))
        return bad(err, "image", w->image, "that is no name of an image");
    if (!is_plain(j->address, ".-_:/[]%"))
        return bad(err, "manifest", j->address,
                   "that is no address; HOST:PORT or tcp://HOST:PORT is expected");
    for (size_t i = 0; j->tags[i]; i++)
        if (!is_plain(j->tags[i], "._=:/+-") || strlen(j->tags[i]) > 64)
            return bad(err, "tag", j->tags[i], "letters, digits and any of ._=:/+- are expected, at most 64");
    if (j->agent && !is_plain(j->agent, "._/+-"))
        return bad(err, "agent", j->agent, "that is no path");
    return 0;
}

static int add(json_t *list, const char *option, const char *value)
{
    if (!value)
        return 0;
    return json_array_append_new(list, json_string(option)) | json_array_append_new(list, json_string(value));
}

static json_t *command(const joining_words *j, const char *workers)
{
    json_t *list = json_pack("[s, s]", "xdctl", "join");
    int     r = add(list, "--workers", workers) | add(list, "--tag", "kubernetes");
    for (size_t i = 0; j->tags[i]; i++)
        r |= add(list, "--tag", j->tags[i]);
    r |= add(list, "--wait", j->wait) | add(list, "--drain", j->drain) | add(list, "--agent", j->agent);
    r |= json_array_append_new(list, json_string(j->address));
    if (r == 0)
        return list;
    json_decref(list);
    return NULL;
}

static json_t *container(const joining_words *j, const manifest_words *w, const char *workers)
{
    return json_pack("{s:s, s:s, s:o, s:s,"
                     " s:[{s:s, s:{s:{s:s, s:s}}}, {s:s, s:s}, {s:s, s:s}, {s:s, s:s}],"
                     " s:{s:{s:s}, s:{s:s}},"
                     " s:{s:b, s:b, s:b, s:{s:[s]}},"
                     " s:[{s:s, s:s}, {s:s, s:s}]}",
                     "name", "join", "image", w->image, "command", command(j, workers), "workingDir", "/work",
                     "env", "name", "XD_TOKEN", "valueFrom", "secretKeyRef", "name", NAME, "key", KEY, "name",
                     "HOME", "value", "/work", "name", "XDG_CACHE_HOME", "value", "/work/cache", "name",
                     "TMPDIR", "value", "/tmp", "resources", "requests", "cpu", workers, "limits", "cpu",
                     workers, "securityContext", "allowPrivilegeEscalation", 0, "privileged", 0,
                     "readOnlyRootFilesystem", 1, "capabilities", "drop", "ALL", "volumeMounts", "name",
                     "work", "mountPath", "/work", "name", "tmp", "mountPath", "/tmp");
}

static json_t *pod(json_t *of_container, uint64_t drain_s)
{
    return json_pack("{s:s, s:b, s:b, s:I,"
                     " s:{s:b, s:i, s:i, s:i, s:{s:s}},"
                     " s:[o],"
                     " s:[{s:s, s:{}}, {s:s, s:{}}]}",
                     "restartPolicy", "Never", "automountServiceAccountToken", 0, "enableServiceLinks", 0,
                     "terminationGracePeriodSeconds", (json_int_t)drain_s + DRAIN_MORE_S, "securityContext",
                     "runAsNonRoot", 1, "runAsUser", USER, "runAsGroup", USER, "fsGroup", USER,
                     "seccompProfile", "type", "RuntimeDefault", "containers", of_container, "volumes",
                     "name", "work", "emptyDir", "name", "tmp", "emptyDir");
}

static json_t *job(json_t *of_pod, unsigned replicas)
{
    return json_pack("{s:s, s:s, s:{s:s, s:{s:s}},"
                     " s:{s:s, s:i, s:i, s:i, s:i, s:{s:{s:{s:s}}, s:o}}}",
                     "apiVersion", "batch/v1", "kind", "Job", "metadata", "name", NAME, "labels",
                     "app.kubernetes.io/name", NAME, "spec", "completionMode", "Indexed", "completions",
                     (int)replicas, "parallelism", (int)replicas, "backoffLimit", (int)replicas,
                     "ttlSecondsAfterFinished", KEPT_S, "template", "metadata", "labels",
                     "app.kubernetes.io/name", NAME, "spec", of_pod);
}

static int print(json_t *what)
{
    int r = what ? json_dumpf(what, stdout, JSON_INDENT(2)) : -1;
    json_decref(what);
    return r < 0 || putchar('\n') == EOF || fflush(stdout) == EOF ? -1 : 0;
}

int manifest_kubernetes(const joining_words *join, const manifest_words *words, char *err)
{
    unsigned replicas, workers;
    uint64_t drain_s, wait_s;
    char     number[16];
    int      code = check_words(join, words, err);
    if (code || (code = read_number("replicas", words->replicas, REPLICAS_MOST, &replicas, err)) ||
        (code = read_number("workers", join->workers, WORKERS_MOST, &workers, err)))
        return code;
    if (tool_seconds(join->drain ? join->drain : JOINING_DRAIN, &drain_s) < 0)
        return bad(err, "drain", join->drain, "a time such as 30s, 5m or 1h is expected");
    if (join->wait && tool_seconds(join->wait, &wait_s) < 0)
        return bad(err, "wait", join->wait, "a time such as 30s, 5m or 1h is expected");
    snprintf(number, sizeof(number), "%u", workers);
    if (print(job(pod(container(join, words, number), drain_s), replicas)) < 0) {
        snprintf(err, XD_TEXT, "cannot write: %s", strerror(errno));
        return XD_EXIT_INTERNAL;
    }
    fputs("# before `kubectl apply`, where ID is the run's id or what --testrunuid calls it:\n"
          "#   xdctl token --run ID --uses 0 --expires 12h >token\n"
          "#   kubectl create secret generic " NAME " --from-file=" KEY "=token\n",
          stderr);
    return 0;
}
