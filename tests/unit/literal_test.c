/* needs: engine actors */
/* Lists of strings in the text of conftest.py and of configuration files. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "actors/inifile.h"
#include "actors/literal.h"

static const char *joined(const xd_strings *s)
{
    static char all[512];
    all[0] = 0;
    for (size_t i = 0; i < s->count; i++)
        snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s", i ? "|" : "", s->at[i]);
    return all;
}

static const struct {
    const char *text;
    int         what;
    uint32_t    line;
    const char *strings;
} modules[] = {
    { "rsyncdirs = ['.', '../plugins']\nrsyncignore = ['_cache']\n", XD_ASSIGNED_LIST, 1, ".|../plugins" },
    { "rsyncdirs=('a',\"b\")", XD_ASSIGNED_LIST, 1, "a|b" },
    { "import os\n\nrsyncdirs = [  # what they need\n    'a',  # one\n\n    \"b\",\n]\n", XD_ASSIGNED_LIST, 3,
      "a|b" },
    { "rsyncdirs = [r'C:\\x', u'y', 'a' \"b\" r'c', 'it\\'s']\n", XD_ASSIGNED_LIST, 1, "C:\\x|y|abc|it's" },
    { "rsyncdirs = []", XD_ASSIGNED_LIST, 1, "" },
    { "rsyncdirs = ()", XD_ASSIGNED_LIST, 1, "" },
    { "rsyncdirs = ('a',)", XD_ASSIGNED_LIST, 1, "a" },
    { "rsyncdirs = \\\n  ['a']\r\n", XD_ASSIGNED_LIST, 1, "a" },
    { "rsyncdirs: list[str] = ['a']\n", XD_ASSIGNED_LIST, 1, "a" },
    { "\xef\xbb\xbfrsyncdirs = ['a']", XD_ASSIGNED_LIST, 1, "a" },
    { "rsyncdirs = ['\xff\xc3\xa4']", XD_ASSIGNED_LIST, 1, "\xff\xc3\xa4" },
    { "rsyncdirs = ['a']\nrsyncdirs = ['b']\n", XD_ASSIGNED_LIST, 2, "b" },
    { "x = '''\nrsyncdirs = ['a']\n'''\n", XD_ASSIGNED_NOT, 0, "" },
    { "# rsyncdirs = ['a']\nf(rsyncdirs=['a'])\nx.rsyncdirs = ['a']\nxrsyncdirs = ['a']\n", XD_ASSIGNED_NOT,
      0, "" },
    { "def f():\n    rsyncdirs = ['a']\n\nclass A:\n    rsyncdirs = ['b']\n", XD_ASSIGNED_NOT, 0, "" },
    { "print(rsyncdirs)\nif rsyncdirs == ['a']: pass\nrsyncdirs\n", XD_ASSIGNED_NOT, 0, "" },
    { "s = \"it's\"\nt = 'a\\'b'\nrsyncdirs = ['a']\n", XD_ASSIGNED_LIST, 3, "a" },
    { "d = {\n 'a': (1,\n 2)}\nrsyncdirs = ['a']\n", XD_ASSIGNED_LIST, 4, "a" },
    /* what nobody can tell without running it */
    { "rsyncdirs = ['a', b]\n", XD_ASSIGNED_OTHER, 1, "" },
    { "rsyncdirs = ['a'] + other\n", XD_ASSIGNED_OTHER, 1, "" },
    { "rsyncdirs = ('a')\n", XD_ASSIGNED_OTHER, 1, "" },
    { "rsyncdirs = 'a'\n", XD_ASSIGNED_OTHER, 1, "" },
    { "rsyncdirs = [b'a']\n", XD_ASSIGNED_OTHER, 1, "" },
    { "rsyncdirs = [f'a{b}']\n", XD_ASSIGNED_OTHER, 1, "" },
    { "rsyncdirs = ['''a''']\n", XD_ASSIGNED_OTHER, 1, "" },
    { "rsyncdirs = ['\\x41']\n", XD_ASSIGNED_OTHER, 1, "" },
    { "rsyncdirs = [*a]\n", XD_ASSIGNED_OTHER, 1, "" },
    { "rsyncdirs = ['a'] if x else []\n", XD_ASSIGNED_OTHER, 1, "" },
    { "rsyncdirs = ['a']\nrsyncdirs += ['b']\n", XD_ASSIGNED_OTHER, 2, "" },
    { "rsyncdirs = ['a']\nrsyncdirs.append('b')\n", XD_ASSIGNED_OTHER, 2, "" },
    { "a = rsyncdirs = ['a']\n", XD_ASSIGNED_OTHER, 1, "" },
    { "if x:\n    rsyncdirs = ['a']\n", XD_ASSIGNED_OTHER, 2, "" },
    { "def f():\n    pass\nif x:\n    rsyncdirs = ['a']\n", XD_ASSIGNED_OTHER, 4, "" },
    { "from settings import rsyncdirs\n", XD_ASSIGNED_OTHER, 1, "" },
    { "rsyncdirs = ['a', 'b'\n", XD_ASSIGNED_OTHER, 1, "" },
    { "rsyncdirs = ['a\n']\n", XD_ASSIGNED_OTHER, 1, "" },
    { "rsyncdirs = ['a']\nx = '''\nrsyncdirs = f()\n", XD_ASSIGNED_OTHER, 2, "" },
    { "", XD_ASSIGNED_NOT, 0, "" },
};

START_TEST(module)
{
    xd_strings strings = { 0 };
    uint32_t   line = 0;
    ck_assert_int_eq(xd_literal_assigned(xd_bytes_str(modules[_i].text), "rsyncdirs", &strings, &line),
                     modules[_i].what);
    ck_assert_str_eq(joined(&strings), modules[_i].strings);
    if (modules[_i].line)
        ck_assert_uint_eq(line, modules[_i].line);
    xd_strings_release(&strings);
}
END_TEST

/* A text that ends anywhere is read to its end, and no further (ASan looks on). */
START_TEST(cut_text)
{
    static const char text[] =
        "rsyncdirs: x = [r'a', \"b\\\"\" 'c', # d\n  '''e''', \\\n u'f']\nif x: pass\n";
    for (size_t n = 0; n < sizeof(text); n++) {
        xd_strings strings = { 0 };
        uint32_t   line;
        char      *copy = malloc(n ? n : 1);
        memcpy(copy, text, n);
        ck_assert_int_ge(
            xd_literal_assigned((xd_bytes){ (const uint8_t *)copy, n }, "rsyncdirs", &strings, &line), 0);
        xd_strings_release(&strings);
        xd_inifile ini;
        ck_assert_int_eq(xd_inifile_read(&ini, "pytest.toml", (xd_bytes){ (const uint8_t *)copy, n }), 0);
        xd_inifile_release(&ini);
        free(copy);
    }
}
END_TEST

static const struct {
    const char *name, *text;
    bool        counts;
    const char *dirs, *ignore, *tests, *addopts, *bad;
} files[] = {
    { "pytest.ini", "", true, "", "", "", "", NULL },
    { ".pytest.ini", "", true, "", "", "", "", NULL },
    { "tox.ini", "[tox]\nrsyncdirs = a\n", false, "", "", "", "", NULL },
    { "tox.ini", "[tox]\n[pytest] # ours\nrsyncdirs = a\n", true, "a", "", "", "", NULL },
    { "pytest.ini",
      "[pytest]\nrsyncdirs = . ../plugins\nrsyncignore: *.dat\ntestpaths =\n  a\n\n  # no\n  'b c'\naddopts "
      "= -q --tb=short\n[x]\nrsyncdirs = z\n",
      true, ".|../plugins", "*.dat", "a|b c", "-q|--tb=short", NULL },
    { "setup.cfg", "[pytest]\nrsyncdirs = a\n", false, "", "", "", "", NULL },
    { "setup.cfg", "[tool:pytest]\nrsyncdirs = a\n", true, "a", "", "", "", NULL },
    { "pytest.ini", "[pytest]\nrsyncdirs = 'a\n", true, "", "", "", "", "rsyncdirs" },
    { "pyproject.toml", "[project]\nname = 'x'\n", false, "", "", "", "", NULL },
    { "pyproject.toml", "[tool.pytest.ini_options]\n", true, "", "", "", "", NULL },
    { "pyproject.toml",
      "[project]\nx = '''\n[tool.pytest.ini_options]\nrsyncdirs = "
      "['z']\n'''\n[tool.pytest.ini_options]\nrsyncdirs = [\n  \"src\", # c\n  'a\\b',\n]\naddopts = "
      "\"-q -p no:x\"\n[tool.x]\nrsyncdirs = ['y']\n",
      true, "src|a\\b", "", "", "-q|-p|no:x", NULL },
    { "pyproject.toml", "tool.pytest.ini_options.rsyncdirs = 'a b'\n", true, "a|b", "", "", "", NULL },
    { "pyproject.toml", "[tool]\npytest.ini_options.testpaths = ['t']\n", true, "", "", "t", "", NULL },
    { "pyproject.toml", "[ tool . 'pytest' ]\nrsyncignore = [\"*.dat\"]\n", true, "", "*.dat", "", "", NULL },
    { "pyproject.toml", "[tool.pytest.ini_options]\nrsyncdirs = [1]\n", true, "", "", "", "", "rsyncdirs" },
    { "pyproject.toml", "p = 'C:\\'\n[tool.pytest.ini_options]\nrsyncdirs = ['a']\n", true, "a", "", "", "",
      NULL },
    { "pytest.toml", "[pytest]\nrsyncdirs = ['a']\n", true, "a", "", "", "", NULL },
    { "pytest.toml", "[tool.pytest]\nrsyncdirs = ['a']\n", true, "", "", "", "", NULL },
    { "other.txt", "[pytest]\nrsyncdirs = a\n", false, "", "", "", "", NULL },
};

START_TEST(configuration_file)
{
    xd_inifile ini;
    ck_assert_int_eq(xd_inifile_read(&ini, files[_i].name, xd_bytes_str(files[_i].text)), 0);
    ck_assert_int_eq(ini.counts, files[_i].counts);
    ck_assert_str_eq(joined(&ini.values[XD_INI_RSYNCDIRS]), files[_i].dirs);
    ck_assert_str_eq(joined(&ini.values[XD_INI_RSYNCIGNORE]), files[_i].ignore);
    ck_assert_str_eq(joined(&ini.values[XD_INI_TESTPATHS]), files[_i].tests);
    ck_assert_str_eq(joined(&ini.values[XD_INI_ADDOPTS]), files[_i].addopts);
    ck_assert_pstr_eq(ini.bad, files[_i].bad);
    xd_inifile_release(&ini);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("literal");
    TCase *t = tcase_create("literal");
    tcase_add_loop_test(t, module, 0, (int)XD_ARRAY_LEN(modules));
    tcase_add_test(t, cut_text);
    tcase_add_loop_test(t, configuration_file, 0, (int)XD_ARRAY_LEN(files));
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
