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
    { "a = rsyncdirs = b = ['a']\n", XD_ASSIGNED_LIST, 1, "a" },
    { "a = rsyncdirs = ['a']\n", XD_ASSIGNED_LIST, 1, "a" },
    { "rsyncdirs = (['a'])\n", XD_ASSIGNED_LIST, 1, "a" },
    { "rsyncdirs = ('a')\n", XD_ASSIGNED_STRING, 1, "a" },
    { "rsyncdirs = 'a'\n", XD_ASSIGNED_STRING, 1, "a" },
    { "rsyncdirs = 'a' \"b\" \\\n  r'\\c'  # one\n", XD_ASSIGNED_STRING, 1, "ab\\c" },
    { "rsyncdirs = (\n  'a'  # one\n  'b'\n)\n", XD_ASSIGNED_STRING, 1, "ab" },
    { "rsyncdirs = u'\xc3\xa4\\u00e4\\xe4'\n", XD_ASSIGNED_STRING, 1, "\xc3\xa4\xc3\xa4\xc3\xa4" },
    { "rsyncdirs = '\\x41\\102\\7\\U0001f600\\u20ac'\n", XD_ASSIGNED_STRING, 1,
      "AB\a\xf0\x9f\x98\x80\xe2\x82\xac" },
    { "rsyncdirs = 'a\\d\\\nb'\n", XD_ASSIGNED_STRING, 1, "a\\db" },
    { "rsyncdirs = ['''a''', \"\"\"b\n'c'\"\"\", '', '''\\\nd''']\n", XD_ASSIGNED_LIST, 1, "a|b\n'c'||d" },
    { "rsyncdirs = '''a\r\nb'''\n", XD_ASSIGNED_STRING, 1, "a\nb" },
    { "rsyncdirs = ['\\x41']\n", XD_ASSIGNED_LIST, 1, "A" },
    { "rsyncdirs = r'a\\\nb'\n", XD_ASSIGNED_STRING, 1, "a\\\nb" },
    { "rsyncdirs = True\n", XD_ASSIGNED_TRUE, 1, "" },
    { "rsyncdirs = ( False )", XD_ASSIGNED_FALSE, 1, "" },
    { "rsyncdirs = None  # no\n", XD_ASSIGNED_NONE, 1, "" },
    { "rsyncdirs = ['a']\nrsyncdirs = True\n", XD_ASSIGNED_TRUE, 2, "" },
    { "rsyncdirs = 'b'\nrsyncdirs = ['a']\n", XD_ASSIGNED_LIST, 2, "a" },
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
    { "rsyncdirs = ('a' + 'b')\n", XD_ASSIGNED_OTHER, 1, "" },
    { "rsyncdirs = 'a' % 1\n", XD_ASSIGNED_OTHER, 1, "" },
    { "rsyncdirs = 'a'.lower()\n", XD_ASSIGNED_OTHER, 1, "" },
    { "rsyncdirs = 'a' b'c'\n", XD_ASSIGNED_OTHER, 1, "" },
    { "rsyncdirs = f'a'\n", XD_ASSIGNED_OTHER, 1, "" },
    { "rsyncdirs = rb'a'\n", XD_ASSIGNED_OTHER, 1, "" },
    { "rsyncdirs = 5\n", XD_ASSIGNED_OTHER, 1, "" },
    { "rsyncdirs = Trueish\n", XD_ASSIGNED_OTHER, 1, "" },
    { "rsyncdirs = True and x\n", XD_ASSIGNED_OTHER, 1, "" },
    { "rsyncdirs = names\n", XD_ASSIGNED_OTHER, 1, "" },
    { "rsyncdirs = find()\n", XD_ASSIGNED_OTHER, 1, "" },
    { "rsyncdirs = {'a'}\n", XD_ASSIGNED_OTHER, 1, "" },
    { "rsyncdirs, b = ['a'], 1\n", XD_ASSIGNED_OTHER, 1, "" },
    { "b, rsyncdirs = 1, ['a']\n", XD_ASSIGNED_OTHER, 1, "" },
    { "b[0] = rsyncdirs = ['a']\n", XD_ASSIGNED_OTHER, 1, "" },
    { "if x: rsyncdirs = ['a']\n", XD_ASSIGNED_OTHER, 1, "" },
    { "if x: pass\nelse: rsyncdirs = ['a']\n", XD_ASSIGNED_OTHER, 2, "" },
    { "rsyncdirs = ['\\N{BULLET}']\n", XD_ASSIGNED_OTHER, 1, "" },
    { "rsyncdirs = ['\\ud800']\n", XD_ASSIGNED_OTHER, 1, "" },
    { "rsyncdirs = ['a\\0']\n", XD_ASSIGNED_OTHER, 1, "" },
    { "rsyncdirs = ['\\x4']\n", XD_ASSIGNED_OTHER, 1, "" },
    { "rsyncdirs = 'a\nb'\n", XD_ASSIGNED_OTHER, 1, "" },
    { "rsyncdirs = (\n'a'\n", XD_ASSIGNED_OTHER, 1, "" },
    { "rsyncdirs = [b'a']\n", XD_ASSIGNED_OTHER, 1, "" },
    { "rsyncdirs = [f'a{b}']\n", XD_ASSIGNED_OTHER, 1, "" },
    { "rsyncdirs = [*a]\n", XD_ASSIGNED_OTHER, 1, "" },
    { "rsyncdirs = ['a'] if x else []\n", XD_ASSIGNED_OTHER, 1, "" },
    { "rsyncdirs = ['a']\nrsyncdirs += ['b']\n", XD_ASSIGNED_OTHER, 2, "" },
    { "rsyncdirs = ['a']\nrsyncdirs.append('b')\n", XD_ASSIGNED_OTHER, 2, "" },
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
    xd_placed strings = { 0 };
    uint32_t  line = 0;
    ck_assert_int_eq(xd_literal_assigned(xd_bytes_str(modules[_i].text), "rsyncdirs", &strings, &line),
                     modules[_i].what);
    ck_assert_str_eq(joined(&strings.words), modules[_i].strings);
    if (modules[_i].line)
        ck_assert_uint_eq(line, modules[_i].line);
    xd_placed_release(&strings);
}
END_TEST

START_TEST(lines_of_strings)
{
    static const char text[] = "import os\n\nrsyncdirs = ['a',\n  # no\n  'b'\n 'c', '''d\ne''',\n  'f']\n";
    static const uint32_t lines[] = { 3, 5, 6, 8 };
    xd_placed             strings = { 0 };
    uint32_t              line = 0;
    ck_assert_int_eq(xd_literal_assigned(xd_bytes_str(text), "rsyncdirs", &strings, &line), XD_ASSIGNED_LIST);
    ck_assert_str_eq(joined(&strings.words), "a|bc|d\ne|f");
    ck_assert_uint_eq(line, 3);
    for (size_t i = 0; i < XD_ARRAY_LEN(lines); i++)
        ck_assert_uint_eq(strings.lines[i], lines[i]);
    xd_placed_release(&strings);
}
END_TEST

/* A text that ends anywhere is read to its end, and no further (ASan looks on). */
START_TEST(cut_text)
{
    static const char text[] =
        "rsyncdirs: x = [r'a', \"b\\\"\" 'c', # d\n  '''e''', \\\n u'f']\nif x: pass\n";
    for (size_t n = 0; n < sizeof(text); n++) {
        xd_placed strings = { 0 };
        uint32_t  line;
        char     *copy = malloc(n ? n : 1);
        memcpy(copy, text, n);
        ck_assert_int_ge(
            xd_literal_assigned((xd_bytes){ (const uint8_t *)copy, n }, "rsyncdirs", &strings, &line), 0);
        xd_placed_release(&strings);
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
    { "pyproject.toml",
      "[tool.pytest.ini_options]\naddopts = \"\"\"\n  -q  \n --tx 'a b' \\\n   -x\"\"\"\ntestpaths = "
      "'''\n 'a\\b' '''\n",
      true, "", "", "a\\b", "-q|--tx|a b|-x", NULL },
    { "pyproject.toml", "[tool.pytest.ini_options]\naddopts = \"-k \\u00e4\"\n", true, "", "", "",
      "-k|\xc3\xa4", NULL },
    { "pyproject.toml", "[tool.pytest.ini_options]\naddopts = \"\\q\"\n", true, "", "", "", "", "addopts" },
    { "pytest.toml", "[pytest]\nrsyncdirs = ['a']\n", true, "a", "", "", "", NULL },
    { "pytest.toml", "[tool.pytest]\nrsyncdirs = ['a']\n", true, "", "", "", "", NULL },
    { "other.txt", "[pytest]\nrsyncdirs = a\n", false, "", "", "", "", NULL },
};

START_TEST(configuration_file)
{
    xd_inifile ini;
    ck_assert_int_eq(xd_inifile_read(&ini, files[_i].name, xd_bytes_str(files[_i].text)), 0);
    ck_assert_int_eq(ini.counts, files[_i].counts);
    ck_assert_str_eq(joined(&ini.values[XD_INI_RSYNCDIRS].words), files[_i].dirs);
    ck_assert_str_eq(joined(&ini.values[XD_INI_RSYNCIGNORE].words), files[_i].ignore);
    ck_assert_str_eq(joined(&ini.values[XD_INI_TESTPATHS].words), files[_i].tests);
    ck_assert_str_eq(joined(&ini.values[XD_INI_ADDOPTS].words), files[_i].addopts);
    ck_assert_pstr_eq(ini.bad, files[_i].bad);
    xd_inifile_release(&ini);
}
END_TEST

static const struct {
    const char *name, *text, *lines;
} placed[] = {
    { "pytest.ini", "[pytest]\n\naddopts = -q --tx popen\n", "3 3 3" },
    { "pytest.ini",
      "[pytest]\naddopts =\n  --no-header -n\n  # --tx popen\n\n  2\n  --tx popen\n  --tx popen\n  --tx "
      "\"ssh=a\n  b\" -x\n",
      "3 3 6 7 7 8 8 9 9 10" },
    { "setup.cfg", "[tool:pytest]\naddopts: -q\n", "2" },
    { "pyproject.toml", "[tool.pytest.ini_options]\naddopts = [\n  '-q',\n\n  '--tx', 'popen',\n]\n",
      "3 5 5" },
    { "pyproject.toml", "[tool.pytest.ini_options]\naddopts = '''\n -q\n --tx popen'''\n", "3 4 4" },
    { "pytest.toml", "[pytest]\naddopts = '-q -x'\n", "2 2" },
};

START_TEST(lines_of_words)
{
    xd_inifile ini;
    char       lines[256] = "";
    ck_assert_int_eq(xd_inifile_read(&ini, placed[_i].name, xd_bytes_str(placed[_i].text)), 0);
    const xd_placed *words = &ini.values[XD_INI_ADDOPTS];
    for (size_t i = 0; i < words->words.count; i++)
        snprintf(lines + strlen(lines), sizeof(lines) - strlen(lines), "%s%u", i ? " " : "", words->lines[i]);
    ck_assert_str_eq(lines, placed[_i].lines);
    xd_inifile_release(&ini);
}
END_TEST

START_TEST(values_of_options)
{
    static const char text[] = "[pytest]\naddopts = -q 'x\ntestpaths = a\n";
    xd_inifile        ini;
    ck_assert_int_eq(xd_inifile_read(&ini, "pytest.ini", xd_bytes_str(text)), 0);
    ck_assert_pstr_eq(ini.bad, "addopts");
    ck_assert_int_eq(xd_inifile_override(&ini, "addopts=--tx 'ssh=a b'"), 0);
    ck_assert_int_eq(xd_inifile_override(&ini, "console_output_style=classic"), 0);
    ck_assert_int_eq(xd_inifile_override(&ini, "testpaths"), 0);
    ck_assert_pstr_eq(ini.bad, NULL);
    ck_assert_str_eq(joined(&ini.values[XD_INI_ADDOPTS].words), "--tx|ssh=a b");
    ck_assert(ini.told[XD_INI_ADDOPTS] && !ini.told[XD_INI_TESTPATHS]);
    ck_assert_uint_eq(ini.values[XD_INI_ADDOPTS].lines[0], 0);
    ck_assert_str_eq(joined(&ini.values[XD_INI_TESTPATHS].words), "a");
    ck_assert_int_eq(xd_inifile_override(&ini, "addopts="), 0);
    ck_assert_uint_eq(ini.values[XD_INI_ADDOPTS].words.count, 0);
    xd_inifile_release(&ini);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("literal");
    TCase *t = tcase_create("literal");
    tcase_add_loop_test(t, module, 0, (int)XD_ARRAY_LEN(modules));
    tcase_add_test(t, lines_of_strings);
    tcase_add_test(t, cut_text);
    tcase_add_loop_test(t, configuration_file, 0, (int)XD_ARRAY_LEN(files));
    tcase_add_loop_test(t, lines_of_words, 0, (int)XD_ARRAY_LEN(placed));
    tcase_add_test(t, values_of_options);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
