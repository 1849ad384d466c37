/* actors/packages.c - see packages.h. */
#include "actors/packages.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"

#define TEXT_MOST 256u /* bytes of a name, or of a version */

static int keep(xd_installed_list *l, xd_bytes text, xd_buf *scratch, const char **ret)
{
    xd_bytes copy;
    xd_buf_clear(scratch);
    text.len = XD_MIN(text.len, TEXT_MOST);
    XD_TRY(xd_text_harmless(scratch, text, false));
    XD_TRY(xd_arena_bytes(&l->texts, xd_buf_view(scratch), &copy));
    *ret = (const char *)copy.ptr;
    return 0;
}

static int by_name_and_place(const void *a, const void *b)
{
    const xd_installed *x = a, *y = b;
    const int           order = strcmp(x->name, y->name);
    return order ? order : x->place < y->place ? -1 : x->place > y->place;
}

static void sort_and_drop_doubles(xd_installed_list *l)
{
    size_t kept = 0;
    if (l->count)
        qsort(l->at, l->count, sizeof(*l->at), by_name_and_place);
    for (size_t i = 0; i < l->count; i++)
        if (!kept || strcmp(l->at[kept - 1].name, l->at[i].name) != 0)
            l->at[kept++] = l->at[i];
    l->count = kept;
}

int xd_installed_take(xd_installed_list *ret, xd_wire_list told)
{
    xd_autobuf      scratch = XD_BUF_INIT;
    xd_wire_PACKAGE p;
    if (told.count > XD_PACKAGES_MOST)
        return -EPROTO;
    if (told.count && !(ret->at = calloc(told.count, sizeof(*ret->at))))
        return -ENOMEM;
    while (ret->count < XD_PACKAGES_MOST && xd_wire_PACKAGE_next(&told, &p) > 0) {
        xd_installed *one = &ret->at[ret->count];
        XD_TRY(keep(ret, p.name, &scratch, &one->name));
        XD_TRY(keep(ret, p.version, &scratch, &one->version));
        one->flags = p.flags;
        one->place = (uint32_t)ret->count++;
    }
    sort_and_drop_doubles(ret);
    return 0;
}

void xd_installed_release(xd_installed_list *l)
{
    free(l->at);
    xd_arena_release(&l->texts);
    *l = XD_INSTALLED_LIST_INIT;
}

/* They build and install, and are different in every virtual environment. */
static bool is_tool(const char *name)
{
    static const char *const tools[] = { "pip", "setuptools", "wheel" };
    for (size_t i = 0; i < XD_ARRAY_LEN(tools); i++)
        if (name && strcmp(name, tools[i]) == 0)
            return true;
    return false;
}

/* Only there, plugin, name. */
static int as_shown(const void *a, const void *b)
{
    const xd_package *x = a, *y = b;
    if (!x->here != !y->here)
        return x->here ? -1 : 1;
    return x->plugin != y->plugin ? y->plugin - x->plugin : strcmp(x->name, y->name);
}

/* One of both may be NULL, not both: 1 = *ret tells how they differ; 0 = they do not, or nobody minds. */
static int difference(const xd_installed *here, const xd_installed *there, xd_package *ret)
{
    *ret = (xd_package){ 0 };
    if (here)
        *ret = (xd_package){ .name = here->name,
                             .here = here->version,
                             .plugin = here->flags & XD_PACKAGE_PLUGIN };
    if (there) {
        ret->name = there->name;
        ret->there = there->version;
        ret->plugin |= there->flags & XD_PACKAGE_PLUGIN;
    }
    if (is_tool(ret->name) || (here && here->flags & XD_PACKAGE_OWN))
        return 0;
    return !ret->here || !ret->there || strcmp(ret->here, ret->there) != 0;
}

int xd_installed_compare(const xd_installed_list *here, const xd_installed_list *there, xd_package **ret,
                         size_t *ret_count)
{
    size_t      h = 0, t = 0, n = 0;
    xd_package *all = calloc(here->count + there->count + 1, sizeof(*all));
    if (!all)
        return -ENOMEM;
    while (h < here->count || t < there->count) {
        const xd_installed *x = h < here->count ? &here->at[h] : NULL,
                           *y = t < there->count ? &there->at[t] : NULL;
        const int order = !x ? 1 : !y ? -1 : strcmp(x->name, y->name);
        n += (size_t)difference(order <= 0 ? x : NULL, order >= 0 ? y : NULL, &all[n]);
        h += order <= 0;
        t += order >= 0;
    }
    if (n)
        qsort(all, n, sizeof(*all), as_shown);
    *ret = n ? all : NULL;
    *ret_count = n;
    if (!n)
        free(all);
    return 0;
}
