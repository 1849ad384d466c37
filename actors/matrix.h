/* actors/matrix.h - item x environment: what became of each test in each of several collections. Pure.
 * A row is a node id, a column a collection. Tests of one name in one collection are rows of their own: the second one of a column
 * stands beside the second one of the others. Rows stand in the order of the first column, then those that only later ones have. */
#pragma once
#include <stdbool.h>

#include "engine/base/buf.h"

#define XD_MATRIX_ABSENT 255 /* the collection does not have it */

typedef struct xd_matrix_item {
    xd_bytes id;      /* borrowed by the matrix */
    uint8_t  outcome; /* XD_OUT_*; 0 counts as XD_OUT_NOT_RUN */
} xd_matrix_item;

typedef struct xd_matrix_column {
    const xd_matrix_item *items;
    uint32_t              count;
} xd_matrix_column;

typedef struct xd_matrix {
    uint32_t  rows, columns;
    uint32_t  differ; /* rows that are not the same in all columns */
    xd_bytes *ids;    /* of each row; views */
    uint8_t  *cells;  /* rows x columns */
} xd_matrix;
#define XD_MATRIX_INIT ((xd_matrix){ 0 })

/* -ENOMEM; *ret is to be released also then. */
int  xd_matrix_make(xd_matrix *ret, const xd_matrix_column *columns, uint32_t count) XD_MUST;
void xd_matrix_release(xd_matrix *m);

static inline uint8_t xd_matrix_cell(const xd_matrix *m, uint32_t row, uint32_t column)
{
    return m->cells[(size_t)row * m->columns + column];
}
/* The outcome is not the same everywhere, or the test is not there everywhere. */
bool xd_matrix_differs(const xd_matrix *m, uint32_t row);
/* A test of this row has failed somewhere, or has no outcome there. */
bool xd_matrix_fails(const xd_matrix *m, uint32_t row);
