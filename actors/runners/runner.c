#include "actors/runners/runner.h"

#include "actors/runners/pytest.h"

static const xd_runner_ops *const all[] = { &xd_pytest_ops };

const xd_runner_ops *xd_runner_find(xd_bytes name)
{
    for (size_t i = 0; i < XD_ARRAY_LEN(all); i++)
        if (xd_bytes_eq_str(name, all[i]->name))
            return all[i];
    return name.len ? NULL : &xd_pytest_ops;
}

const char *xd_runner_names(void)
{
    return "pytest";
}
