/* engine/tunnel.h - one end of a pipe to an agent that goes in messages of ZeroMQ (wire.def, TUNNEL_*): bytes of a local descriptor out as
 * TUNNEL_DATA, what comes into the descriptor, and no more under way than the other end has room for. Beside it goes the text that
 * the agent writes for people, one way. Who talks to whom, and how it begins and ends, is its user's business (gateways/socket.c, serve.c).
 * One thread; nothing blocks. */
#pragma once
#include "engine/base/clock.h"
#include "engine/stream.h"

#define XD_TUNNEL_SPOKEN 1u /* version; XD_TUNNEL_VERSION is a reason to refuse */
#define XD_TUNNEL_WINDOW (2u << 20)
#define XD_TUNNEL_TEXT_WINDOW (64u << 10)
#define XD_TUNNEL_DATA_MAX (256u << 10)
#define XD_TUNNEL_MESSAGE_MAX (1u << 20) /* what ZeroMQ takes at most */
#define XD_TUNNEL_BEAT_NS (5 * XD_S_NS)
#define XD_TUNNEL_SILENT_NS (20 * XD_S_NS)
#define XD_TUNNEL_TOKEN 16u

/* Sends one message. 0; -EAGAIN: the queue is full and nothing was sent, xd_tunnel_pump tries again; other -errno: disconnected. */
typedef int (*xd_tunnel_send_fn)(void *arg, xd_bytes message);

typedef struct xd_tunnel {
    int               fd;       /* non-blocking socket or pipe; borrowed; -1 = there is none (any more) */
    int               text_in;  /* text is read there, and sent; borrowed; -1 */
    int               text_out; /* text that comes is written there; borrowed; -1 */
    xd_tunnel_send_fn send;
    void             *arg;
    uint64_t          sent, sent_taken, got, told;
    uint64_t          text_sent, text_taken, text_got, text_told;
    xd_stream_out     out, text; /* what came, and the descriptors have not taken */
    xd_buf            held;      /* a message that could not be sent yet */
    uint8_t          *room;      /* to read into */
    bool              over;      /* the descriptor has ended, and TUNNEL_CLOSE was sent */
    bool              text_over;
    bool              closed; /* TUNNEL_CLOSE came */
} xd_tunnel;

int  xd_tunnel_init(xd_tunnel *t, int fd, int text_in, int text_out, xd_tunnel_send_fn send,
                    void *arg) XD_MUST;
void xd_tunnel_release(xd_tunnel *t);

/* One of TUNNEL_DATA, _TAKEN, _TEXT, _CLOSE that came. -EPROTO: it cannot be, or is more than there was room for; -ENOMEM. */
int xd_tunnel_frame(xd_tunnel *t, const xd_frame *f) XD_MUST;
/* Moves what can be moved. 0; 1 = more could be, but the connection takes no message now: again in a few milliseconds; -errno of `send`, -ENOMEM. */
int xd_tunnel_pump(xd_tunnel *t) XD_MUST;
/* What to wait for before the next pump: XD_POLL_IN, XD_POLL_OUT of fd; XD_POLL_IN of text_in, XD_POLL_OUT of text_out. */
void xd_tunnel_wants(const xd_tunnel *t, uint32_t *ret_fd, uint32_t *ret_text_in, uint32_t *ret_text_out);
/* All that came has been written to the descriptors. */
static inline bool xd_tunnel_written(const xd_tunnel *t)
{
    return xd_stream_out_pending(&t->out) == 0 && xd_stream_out_pending(&t->text) == 0;
}
