/* actors/inifile.h - what pytest's configuration file says that a run must know before pytest has started: ini files, pyproject.toml and pytest.toml. Pure. */
#pragma once
#include "actors/literal.h"

typedef enum xd_ini_name {
    XD_INI_RSYNCDIRS,
    XD_INI_RSYNCIGNORE,
    XD_INI_TESTPATHS,
    XD_INI_ADDOPTS,
    XD_INI_NAMES
} xd_ini_name;

typedef struct xd_inifile {
    bool counts; /* it has pytest's section, or needs none: pytest would take it as its configuration file */
    xd_placed   values[XD_INI_NAMES]; /* words; owned */
    bool        told[XD_INI_NAMES];   /* by xd_inifile_override: they have no lines */
    const char *bad; /* name of a value that cannot be split into words; static; NULL = none */
} xd_inifile;
#define XD_INIFILE_INIT ((xd_inifile){ 0 })

/* name: of the file, without its folder; it tells the format. What is no valid file of its format is read as far as it makes sense: pytest will say it.
 * -ENOMEM: *ret is empty. */
int xd_inifile_read(xd_inifile *ret, const char *name, xd_bytes text) XD_MUST;
/* A value that is told by an option ("name=value" of pytest's -o) takes the place of what stands in the file. One that is not read here is passed over. -ENOMEM. */
int  xd_inifile_override(xd_inifile *ini, const char *text) XD_MUST;
void xd_inifile_release(xd_inifile *ini);
