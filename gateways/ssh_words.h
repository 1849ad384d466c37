/* gateways/ssh_words.h - private to the ssh gateway: the keywords of ssh_config(5), and what becomes of each. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

typedef enum xd_ssh_word_kind {
    XD_SSH_WORD_USED,  /* the gateway acts on its value */
    XD_SSH_WORD_LIST,  /* the same; of algorithms. Left to the ssh program where it changes a built-in list */
    XD_SSH_WORD_MANY,  /* the same; each line adds to the ones before */
    XD_SSH_WORD_WORDS, /* the same; a line has several words, and the first line counts */
    XD_SSH_WORD_EACH,  /* the same as MANY, of one word per line */
    XD_SSH_WORD_LINE,  /* the same; the whole line is the value */
    XD_SSH_WORD_OFF,   /* left to the ssh program unless it is `no` or `none` */
    XD_SSH_WORD_GSSAPI,  /* left to the ssh program if it is `yes` and the user has tickets */
    XD_SSH_WORD_NOTHING, /* means nothing for a connection that runs one command without a terminal */
} xd_ssh_word_kind;

typedef struct xd_ssh_word {
    const char      *name; /* in lower case */
    const char      *shown;
    xd_ssh_word_kind kind;
} xd_ssh_word;

extern const xd_ssh_word xd_ssh_words[]; /* the last one has no name */

int  xd_ssh_word_find(const char *name); /* its index, -1 = no keyword; in upper or lower case */
bool xd_ssh_word_suits(int word, const char *value);
/* A line of this keyword has one word, and ssh refuses more. */
bool xd_ssh_word_single(int word);
/* A number, or a time as 90, 90s, 1m30s. -EINVAL */
int xd_ssh_number(const char *text, uint32_t *ret);
/* The next word of a line, malloc'ed: 1, 0 = there is none, -EINVAL = an open quote, -ENOMEM. */
int xd_ssh_next_word(const char **at, char **ret);
