/* needs: engine */
/* keys_test.c - key pairs, as text and in the file that only their owner may read. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/path.h"
#include "engine/keys.h"

/* The pairs of zmq_curve(7). */
#define PUB "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"
#define SECRET "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs"
#define PUB2 "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
#define SECRET2 "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6"

static xd_error err;
static char     dir[64], path[128];

static void setup(void)
{
    snprintf(dir, sizeof(dir), "/tmp/xd-keys-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/id", dir);
}

static void teardown(void)
{
    ck_assert_int_eq(xd_path_remove_tree(dir), 0);
}

static bool same(const xd_keypair *a, const xd_keypair *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

static void put(const char *at, const void *data, size_t len, mode_t mode)
{
    int fd = open(at, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ck_assert(fd >= 0 && write(fd, data, len) == (ssize_t)len && fchmod(fd, mode) == 0);
    close(fd);
}

/* ---- keys as text ---------------------------------------------------------------------------------------- */

START_TEST(z85)
{
    /* The bytes were computed apart from libzmq. */
    static const uint8_t bytes[XD_KEY_BYTES] = { 0xbb, 0x88, 0x47, 0x1d, 0x65, 0xe2, 0x65, 0x9b,
                                                 0x30, 0xc5, 0x5a, 0x53, 0x21, 0xce, 0xbb, 0x5a,
                                                 0xab, 0x2b, 0x70, 0xa3, 0x98, 0x64, 0x5c, 0x26,
                                                 0xdc, 0xa2, 0xb2, 0xfc, 0xb4, 0x3f, 0xc5, 0x18 };
    xd_pubkey            key;
    char                 text[XD_KEY_Z85 + 1];
    ck_assert_int_eq(xd_pubkey_parse(&key, XD_BYTES_LIT(PUB)), 0);
    ck_assert_mem_eq(key.at, bytes, XD_KEY_BYTES);
    xd_pubkey_text(&key, text);
    ck_assert_str_eq(text, PUB);
    /* ZeroMQ RFC 32: these 8 bytes are "HelloWorld". */
    static const uint8_t hello[8] = { 0x86, 0x4f, 0xd2, 0x6f, 0xb5, 0x59, 0xf7, 0x5b };
    ck_assert_int_eq(xd_pubkey_parse(&key, XD_BYTES_LIT("HelloWorldHelloWorldHelloWorldHelloWorld")), 0);
    for (size_t i = 0; i < XD_KEY_BYTES; i += sizeof(hello))
        ck_assert_mem_eq(key.at + i, hello, sizeof(hello));
}
END_TEST

START_TEST(no_z85)
{
    static const struct {
        const char *text;
        size_t      len;
    } table[] = {
        { "", 0 },
        { PUB, 39 },
        { PUB "0", 41 },
        { "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hI ", 40 },
        { "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hI\"", 40 },
        { "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hI\x7f", 40 },
        { "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hI\xff", 40 },
        { "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaL\0{hID", 40 },
        { "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaL\0\0\0\0\0", 40 },
        { "#####w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID", 40 }, /* more than 32 bits */
        { "%nSc1w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID", 40 }, /* 2^32 itself */
    };
    for (size_t i = 0; i < XD_ARRAY_LEN(table); i++) {
        xd_pubkey key, was;
        memset(&key, 0x5a, sizeof(key));
        was = key;
        ck_assert_msg(xd_pubkey_parse(&key, (xd_bytes){ (const uint8_t *)table[i].text, table[i].len }) ==
                          -EINVAL,
                      "number %zu is taken", i);
        ck_assert(xd_pubkey_eq(&key, &was));
    }
}
END_TEST

/* Golden values of Python's hashlib. */
START_TEST(fingerprints)
{
    xd_pubkey key, other;
    char      print[XD_FINGERPRINT_SIZE];
    ck_assert_int_eq(xd_pubkey_parse(&key, XD_BYTES_LIT(PUB)), 0);
    xd_pubkey_fingerprint(&key, print);
    ck_assert_str_eq(print, "SHA256:67OvTdmc7/Nun5C12z5FDkr9NWhEMfqfDsnuWvXD6MM");
    ck_assert_int_eq(xd_pubkey_parse(&other, XD_BYTES_LIT(PUB2)), 0);
    xd_pubkey_fingerprint(&other, print);
    ck_assert_str_eq(print, "SHA256:UiUB9OemP2Hdd21+1oKRBMgVAiTJW5bZXRioJUnsVdM");
    ck_assert(!xd_pubkey_eq(&key, &other));
    ck_assert(xd_pubkey_eq(&key, &key));
}
END_TEST

/* ---- certificates ---------------------------------------------------------------------------------------- */

#define CURVE "curve\n    public-key = \"" PUB "\"\n    secret-key = \"" SECRET "\"\n"

START_TEST(certificates)
{
    static const char *const table[] = {
        CURVE,
        /* As zcert_save of czmq writes them. */
        "#   ****  Generated on 2026-11-29 12:00:00 by CZMQ  ****\n"
        "#   ZeroMQ CURVE **Secret** Certificate\n"
        "#   DO NOT PROVIDE THIS FILE TO OTHER USERS nor change its permissions.\n"
        "\n"
        "metadata\n"
        "    name = \"public-key\"\n"
        "    public-key = \"" PUB2 "\"\n" CURVE,
        /* The other way round, and a section behind. */
        "curve\n    secret-key = \"" SECRET "\"\n    public-key = \"" PUB
        "\"\nmetadata\n    email = \"a@b\"\n    secret-key = \"" SECRET2 "\"\n",
        "curve\r\n    public-key = \"" PUB "\"\r\n    secret-key = \"" SECRET "\"\r\n",
        "curve\n    public-key=\"" PUB "\"\n    secret-key\t=\t'" SECRET "'",
        "curve\n    public-key = " PUB "\n    secret-key = " SECRET "   # mine\n",
        "curve\n    public-key = " PUB "\t# mine\n    secret-key = " SECRET "\n",
        "\n\ncurve\n#  here they are\n    # indented, too\n\n    public-key = \"" PUB
        "\"   # the one\n  secret-key = \"" SECRET "\"\n\n",
        "curve   \n    public-key = \"" PUB "\"\n    secret-key = \"" SECRET "\"\n",
        "curve # of zmq_curve(7)\n    public-key = \"" PUB "\"\n    secret-key = \"" SECRET "\"\n",
        "curve\n    version = 1\n    public-keys = \"x\"\n    public-key = \"" PUB
        "\"\n    secret-key = \"" SECRET "\"\n",
    };
    for (size_t i = 0; i < XD_ARRAY_LEN(table); i++) {
        xd_keypair k;
        char       text[XD_KEY_Z85 + 1];
        err = (xd_error){ 0 };
        ck_assert_msg(xd_keypair_parse(&k, xd_bytes_str(table[i]), &err) == 0, "%s: %s", table[i], err.text);
        xd_pubkey_text(&k.pub, text);
        ck_assert_str_eq(text, PUB);
        ck_assert_int_eq(k.secret[0], 0x7b);
        xd_keypair_wipe(&k);
        for (size_t b = 0; b < sizeof(k); b++)
            ck_assert_int_eq(((const uint8_t *)&k)[b], 0);
    }
}
END_TEST

START_TEST(bad_certificates)
{
    static const struct {
        const char *text, *words;
    } table[] = {
        { "", "is missing" },
        { "\n# nothing\n", "is missing" },
        { "metadata\n    name = \"x\"\n", "is missing" },
        { "    public-key = \"" PUB "\"\n    secret-key = \"" SECRET "\"\n", "is missing" },
        { "curves\n    public-key = \"" PUB "\"\n    secret-key = \"" SECRET "\"\n", "is missing" },
        { "curve\npublic-key = \"" PUB "\"\nsecret-key = \"" SECRET "\"\n", "is missing" },
        { "curve\n    public-key = \"" PUB "\"\n", "is missing" }, /* a public certificate */
        { "curve\n    secret-key = \"" SECRET "\"\n", "is missing" },
        { "curve\n    public-key = \"" PUB "\"\nmetadata\n    secret-key = \"" SECRET "\"\n", "is missing" },
        { "curve\n    public-key = \"" PUB "\n    secret-key = \"" SECRET "\"\n", "is missing" },
        { "curve\n    public-key \"" PUB "\"\n    secret-key \"" SECRET "\"\n", "is missing" },
        { "curve\n    public-key = \n    secret-key = \"" SECRET "\"\n", "40 characters" },
        { "curve\n    public-key = \"\"\n    secret-key = \"" SECRET "\"\n", "40 characters" },
        { "curve\n    public-key = \"short\"\n    secret-key = \"" SECRET "\"\n", "40 characters" },
        { "curve\n    public-key = \"" PUB "\"\n    secret-key = \"" SECRET "0\"\n", "40 characters" },
        { "curve\n    public-key = \"" PUB "\"\n    secret-key = \"" SECRET2 "\"\n",
          "do not belong together" },
        { "curve\n    public-key = \"" SECRET "\"\n    secret-key = \"" PUB "\"\n",
          "do not belong together" },
    };
    for (size_t i = 0; i < XD_ARRAY_LEN(table); i++) {
        xd_keypair k, was;
        memset(&k, 0x5a, sizeof(k));
        was = k;
        err = (xd_error){ 0 };
        ck_assert_msg(xd_keypair_parse(&k, xd_bytes_str(table[i].text), &err) == -EINVAL, "%s",
                      table[i].text);
        ck_assert_msg(strstr(err.text, table[i].words) && !strchr(err.text, '\n'), "%s: %s", table[i].text,
                      err.text);
        ck_assert_ptr_null(strstr(err.text, SECRET));
        ck_assert(same(&k, &was));
    }
}
END_TEST

/* ---- the file -------------------------------------------------------------------------------------------- */

static void made(xd_keypair *k)
{
    ck_assert_int_eq(xd_keypair_make(k), 0);
}

START_TEST(round_trip)
{
    xd_keypair  k, other, again;
    xd_autobuf  text = XD_BUF_INIT;
    struct stat st;
    made(&k);
    made(&other);
    ck_assert(!xd_pubkey_eq(&k.pub, &other.pub));
    ck_assert_msg(xd_keypair_write(&k, path, "me@\"host\"\n\x1b[31m", &err) == 0, "%s", err.text);
    ck_assert(stat(path, &st) == 0 && (st.st_mode & 07777) == 0600);
    ck_assert_msg(xd_keypair_read(&again, path, &err) == 0, "%s", err.text);
    ck_assert(same(&k, &again));
    ck_assert_int_eq(xd_path_read_file(path, 1 << 16, &text, &err), 0);
    ck_assert_ptr_nonnull(strstr(xd_buf_cstr(&text), "\nmetadata\n    name = \"me@'host'"));
    ck_assert_ptr_null(strchr(xd_buf_cstr(&text), '\x1b'));
    /* It is there now, and stays. */
    ck_assert_int_eq(xd_keypair_write(&other, path, "", &err), -EEXIST);
    ck_assert_ptr_nonnull(strstr(err.text, path));
    ck_assert_int_eq(xd_keypair_read(&again, path, &err), 0);
    ck_assert(same(&k, &again));
    /* Nor is something written where a link leads. */
    char link[160], to[160];
    snprintf(link, sizeof(link), "%s/link", dir);
    snprintf(to, sizeof(to), "%s/to", dir);
    ck_assert_int_eq(symlink(to, link), 0);
    ck_assert_int_eq(xd_keypair_write(&k, link, "", &err), -EEXIST);
    ck_assert_int_eq(access(to, F_OK), -1);
}
END_TEST

/* Whatever the mask of its creator is. */
START_TEST(modes)
{
    static const mode_t refused[] = { 0640, 0604, 0620, 0660, 0601, 0644, 0666, 0777, 04640 },
                        taken[] = { 0600, 0400, 0700 };
    xd_keypair k, again;
    char       words[64];
    made(&k);
    mode_t mask = umask(0);
    ck_assert_int_eq(xd_keypair_write(&k, path, "", &err), 0);
    umask(mask);
    for (size_t i = 0; i < XD_ARRAY_LEN(refused); i++) {
        ck_assert_int_eq(chmod(path, refused[i]), 0);
        err = (xd_error){ 0 };
        ck_assert_int_eq(xd_keypair_read(&again, path, &err), -EPERM);
        snprintf(words, sizeof(words), "has mode %04o: ", (unsigned)refused[i]);
        ck_assert_msg(strstr(err.text, path) && strstr(err.text, words) && strstr(err.text, "chmod 600"),
                      "%s", err.text);
    }
    for (size_t i = 0; i < XD_ARRAY_LEN(taken); i++) {
        ck_assert_int_eq(chmod(path, taken[i]), 0);
        ck_assert_msg(xd_keypair_read(&again, path, &err) == 0, "%s", err.text);
        ck_assert(same(&k, &again));
    }
}
END_TEST

START_TEST(of_another_owner)
{
    xd_keypair k, again;
    made(&k);
    ck_assert_int_eq(xd_keypair_write(&k, path, "", &err), 0);
    if (geteuid() != 0 || chown(path, 12345, (gid_t)-1) != 0) {
        printf("skipped: a file cannot be given to another user here\n");
        return;
    }
    ck_assert_int_eq(xd_keypair_read(&again, path, &err), -EPERM);
    ck_assert_msg(strstr(err.text, path) && strstr(err.text, "another user"), "%s", err.text);
}
END_TEST

START_TEST(no_files)
{
    xd_keypair k;
    char       link[160];
    ck_assert_int_eq(xd_keypair_read(&k, path, &err), -ENOENT);
    ck_assert_ptr_nonnull(strstr(err.text, path));
    ck_assert_int_eq(xd_keypair_read(&k, dir, &err), -EINVAL);
    ck_assert_msg(strstr(err.text, dir) && strstr(err.text, "is no file"), "%s", err.text);
    snprintf(link, sizeof(link), "%s/link", dir);
    ck_assert_int_eq(symlink(dir, link), 0);
    ck_assert_int_eq(xd_keypair_read(&k, link, &err), -EINVAL);
    ck_assert_msg(strstr(err.text, link) && strstr(err.text, "is no file"), "%s", err.text);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    ck_assert_int_eq(xd_keypair_read(&k, path, &err), -EINVAL); /* and it does not wait for a writer */
    ck_assert_msg(strstr(err.text, path) && strstr(err.text, "is no file"), "%s", err.text);
    ck_assert_int_eq(xd_keypair_read(&k, "/dev/null", &err), -EINVAL);
    snprintf(link, sizeof(link), "%s/none/id", dir);
    ck_assert_int_eq(xd_keypair_write(&k, link, "", &err), -ENOENT);
    ck_assert_ptr_nonnull(strstr(err.text, link));
}
END_TEST

/* The line of the error has the file's name, and nothing of what is in it. */
START_TEST(bad_files)
{
    static const char cut[] = "curve\n    public-key = \"" PUB "\"\n    secret-key = \"" SECRET;
    xd_keypair        k;
    xd_autobuf        large = XD_BUF_INIT;
    put(path, cut, sizeof(cut) - 1, 0600);
    ck_assert_int_eq(xd_keypair_read(&k, path, &err), -EINVAL);
    ck_assert_msg(strncmp(err.text, path, strlen(path)) == 0 && strstr(err.text, "secret-key"), "%s",
                  err.text);
    ck_assert_ptr_null(strstr(err.text, SECRET));
    /* A good one with more behind it than any has. */
    ck_assert_int_eq(xd_buf_add_str(&large, CURVE "#"), 0);
    ck_assert_int_eq(xd_buf_fill(&large, 'x', 8000 - large.len), 0);
    put(path, large.data, large.len, 0600);
    ck_assert_msg(xd_keypair_read(&k, path, &err) == 0, "%s", err.text);
    ck_assert_int_eq(xd_buf_fill(&large, 'x', 8192 - large.len), 0);
    put(path, large.data, large.len, 0600);
    ck_assert_int_eq(xd_keypair_read(&k, path, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, "too long"));
    put(path, "", 0, 0600);
    ck_assert_int_eq(xd_keypair_read(&k, path, &err), -EINVAL);
}
END_TEST

START_TEST(folders)
{
    static const struct {
        const char *base, *home, *folder;
    } table[] = {
        { "/x/conf", "/home/me", "/x/conf/xdctl" },
        { NULL, "/home/me", "/home/me/.config/xdctl" },
        { "", "/home/me", "/home/me/.config/xdctl" },
        { "conf", "/home/me", "/home/me/.config/xdctl" },
        { "/x/conf", NULL, "/x/conf/xdctl" },
        { NULL, NULL, NULL },
        { NULL, "me", NULL },
    };
    for (size_t i = 0; i < XD_ARRAY_LEN(table); i++) {
        xd_autofree char *folder = NULL;
        unsetenv("XDG_CONFIG_HOME");
        unsetenv("HOME");
        if (table[i].base)
            setenv("XDG_CONFIG_HOME", table[i].base, 1);
        if (table[i].home)
            setenv("HOME", table[i].home, 1);
        int r = xd_keys_folder(NULL, &folder, &err);
        ck_assert_int_eq(r, table[i].folder ? 0 : -ENOENT);
        if (table[i].folder)
            ck_assert_str_eq(folder, table[i].folder);
        else
            ck_assert_ptr_nonnull(strstr(err.text, "--keys"));
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("keys");
    TCase *t = tcase_create("all");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, z85);
    tcase_add_test(t, no_z85);
    tcase_add_test(t, fingerprints);
    tcase_add_test(t, certificates);
    tcase_add_test(t, bad_certificates);
    tcase_add_test(t, round_trip);
    tcase_add_test(t, modes);
    tcase_add_test(t, of_another_owner);
    tcase_add_test(t, no_files);
    tcase_add_test(t, bad_files);
    tcase_add_test(t, folders);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
