/* actors/matrix.c - see matrix.h. Rows of one name form a chain; while a column is filled in, the head of the chain knows which of them
 * is next, so that many tests of one name cost no more than others. */
#include "actors/matrix.h"

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "engine/outcome.h"
#include "engine/wire.h"

#define NONE UINT32_MAX

typedef struct matrix_row {
    uint32_t next;   /* of the same name */
    uint32_t last;   /* of the head alone, as what follows: the end of the chain */
    uint32_t at, of; /* the row that is next, in this column + 1 */
} matrix_row;

typedef struct making {
    xd_matrix  *m;
    matrix_row *rows;
    uint32_t    room;  /* for so many rows */
    uint32_t   *slots; /* of a hash: the head of a chain + 1 */
    size_t      mask;
} making;

static uint32_t *slot_of(const making *k, xd_bytes id)
{
    size_t at = (size_t)XXH3_64bits(id.ptr, id.len) & k->mask;
    while (k->slots[at] && !xd_bytes_eq(k->m->ids[k->slots[at] - 1], id))
        at = (at + 1) & k->mask;
    return &k->slots[at];
}

static int grow(making *k)
{
    const size_t room = k->room ? 2 * (size_t)k->room : 1024;
    xd_bytes    *ids = realloc(k->m->ids, room * sizeof(*ids));
    if (!ids)
        return -ENOMEM;
    k->m->ids = ids;
    uint8_t *cells = realloc(k->m->cells, room * k->m->columns);
    if (!cells)
        return -ENOMEM;
    k->m->cells = cells;
    matrix_row *rows = realloc(k->rows, room * sizeof(*rows));
    if (!rows)
        return -ENOMEM;
    k->rows = rows;
    k->room = (uint32_t)room;
    return 0;
}

static int add_row(making *k, xd_bytes id, uint32_t *ret)
{
    if (k->m->rows == k->room)
        XD_TRY(grow(k));
    const uint32_t n = *ret = k->m->rows++;
    k->m->ids[n] = id;
    memset(&k->m->cells[(size_t)n * k->m->columns], XD_MATRIX_ABSENT, k->m->columns);
    k->rows[n] = (matrix_row){ .next = NONE, .last = n, .at = NONE };
    return 0;
}

static int row_of(making *k, uint32_t column, xd_bytes id, uint32_t *ret)
{
    uint32_t *slot = slot_of(k, id);
    if (!*slot) {
        XD_TRY(add_row(k, id, ret));
        *slot = *ret + 1;
        k->rows[*ret].of = column + 1;
        return 0;
    }
    const uint32_t head = *slot - 1;
    if (k->rows[head].of != column + 1) {
        k->rows[head].of = column + 1;
        k->rows[head].at = head;
    }
    *ret = k->rows[head].at;
    if (*ret == NONE) { /* one more of the name than any column had so far */
        XD_TRY(add_row(k, id, ret));
        k->rows[k->rows[head].last].next = *ret;
        k->rows[head].last = *ret;
    }
    k->rows[head].at = k->rows[*ret].next;
    return 0;
}

static int fill(making *k, const xd_matrix_column *column, uint32_t number)
{
    for (uint32_t i = 0; i < column->count; i++) {
        const xd_matrix_item *one = &column->items[i];
        uint32_t              n = 0;
        XD_TRY(row_of(k, number, one->id, &n));
        k->m->cells[(size_t)n * k->m->columns + number] = one->outcome ? one->outcome : XD_OUT_NOT_RUN;
    }
    return 0;
}

bool xd_matrix_differs(const xd_matrix *m, uint32_t row)
{
    for (uint32_t c = 1; c < m->columns; c++)
        if (xd_matrix_cell(m, row, c) != xd_matrix_cell(m, row, 0))
            return true;
    return false;
}

bool xd_matrix_fails(const xd_matrix *m, uint32_t row)
{
    for (uint32_t c = 0; c < m->columns; c++) {
        const uint8_t cell = xd_matrix_cell(m, row, c);
        if (cell != XD_MATRIX_ABSENT && (cell == XD_OUT_NOT_RUN || xd_outcome_fails(cell)))
            return true;
    }
    return false;
}

int xd_matrix_make(xd_matrix *ret, const xd_matrix_column *columns, uint32_t count)
{
    size_t all = 0, slots = 16;
    int    r = 0;
    for (uint32_t c = 0; c < count; c++)
        all += columns[c].count;
    while (slots < 2 * all)
        slots *= 2;
    *ret = (xd_matrix){ .columns = count };
    xd_autofree uint32_t *heads = calloc(slots, sizeof(*heads));
    if (!heads || all >= NONE / 2)
        return -ENOMEM;
    making k = { .m = ret, .slots = heads, .mask = slots - 1 };
    for (uint32_t c = 0; r == 0 && c < count; c++)
        r = fill(&k, &columns[c], c);
    free(k.rows);
    for (uint32_t n = 0; r == 0 && n < ret->rows; n++)
        ret->differ += xd_matrix_differs(ret, n);
    return r;
}

void xd_matrix_release(xd_matrix *m)
{
    free(m->ids);
    free(m->cells);
    *m = XD_MATRIX_INIT;
}
