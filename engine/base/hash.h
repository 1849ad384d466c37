/* engine/base/hash.h - uthash as we use it: without memory it does not end the process. After HASH_ADD... an
 * element whose hh.tbl is NULL was not added. */
#pragma once
#define HASH_NONFATAL_OOM 1
#include <uthash.h>
