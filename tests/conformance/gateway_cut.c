/* tests/conformance/gateway_cut.c - a part of gateway_conformance.c: a pipe that is cut, and what comes back on another one. */

/* ---- a pipe that is cut ---------------------------------------------------------------------------------- */
/* The texts of OUTPUT are "1 ", "2 " ...: each once, in order. */
static void expect_outputs(const fixture *f, uint32_t count)
{
    uint32_t next = 1;
    for (size_t i = 0; i < f->count; i++) {
        size_t         len;
        xd_wire_OUTPUT out;
        if (f->at[i].type != XD_MSG_OUTPUT)
            continue;
        const uint8_t *body = body_of(&f->at[i], &len);
        ck_assert_int_eq(xd_wire_OUTPUT_decode(body, len, &out), 0);
        ck_assert_uint_eq(strtoul((const char *)out.data.ptr, NULL, 10), next++);
    }
    ck_assert_uint_eq(next, count + 1);
}

static uint32_t notes_with(const fixture *f, const char *text)
{
    uint32_t n = 0;
    for (size_t i = 0; i < f->count; i++)
        n += f->at[i].type == XD_MSG_NOTE &&
             memmem(f->at[i].frame.data, f->at[i].frame.len, text, strlen(text));
    return n;
}

/* Cut in the middle of a frame, ten times; what was not taken is sent again, and what was is not believed twice. */
START_TEST(takes_up_a_cut_pipe)
{
    WITH_PEER(f,
              "hello(caps=2)\nbegin()\n"
              "for n in range(1, 31):\n"
              "    output(0xffffffff, n, b'%d ' % n)\n"
              "    if n % 3 == 0:\n"
              "        sock.sendall(b'\\x50\\0\\0')\n"
              "        taken = again()\n"
              "        assert taken <= n\n"
              "        for k in range(max(taken, 1), n + 1): output(0xffffffff, k, b'%d ' % k)\n"
              "done(31)\n",
              0);
    expect_down(&f, true, NULL, 20);
    expect_outputs(&f, 30);
    ck_assert_uint_eq(notes_with(&f, "was cut, and taken up again"), 10);
    ck_assert_ptr_null(await(&f, XD_MSG_GATEWAY_UP, 1, 0));
    END_PEER(f);
}
END_TEST

START_TEST(sends_again_what_was_not_taken)
{
    WITH_PEER(f,
              "hello(caps=2)\n"
              "assert [get()[:2] for n in range(3)] == [(2, 0), (16, 1), (22, 2)]\n"
              "again(last=1)\nassert get()[:2] == (22, 2)\n"
              "again(last=0)\n" /* not acknowledged so far, so it may still say that it has nothing */
              "sys.exit(9)\n",
              0);
    /* `last` of the first return acknowledged number 1 */
    expect_down(&f, false, "without commands that it had acknowledged", 20);
    END_PEER(f);
}
END_TEST

/* WELCOME was cut off: to the agent nothing has begun. */
START_TEST(takes_up_a_pipe_that_was_cut_in_the_greeting)
{
    WITH_PEER(f,
              "sock.sendall(PREAMBLE + b'\\x10')\nsock.close()\n" /* cut in HELLO: greeted as at first */
              "sock = take()\n"
              "hello(caps=2)\nagain(session=0, last=0)\n"
              "while get()[:2] != (22, 2): pass\n"
              "output(0xffffffff, 1, b'1 ')\ndone(2)\n",
              0);
    expect_down(&f, true, NULL, 20);
    expect_outputs(&f, 1);
    END_PEER(f);
}
END_TEST

/* The acknowledgement that the agent waits for at its end was lost with the pipe. */
START_TEST(acknowledges_again)
{
    WITH_PEER(f,
              "hello(caps=2)\nbegin()\noutput(0xffffffff, 1, b'1 ')\nwait_ack(1)\nagain()\nwait_ack(1)\n"
              "output(0xffffffff, 2, b'2 ')\ndone(3)\n",
              0);
    expect_down(&f, true, NULL, 20);
    expect_outputs(&f, 2);
    END_PEER(f);
}
END_TEST

START_TEST(drops_who_returns_with_another_token)
{
    drops_bad_frames(_i, "hello(caps=2)\nbegin()\nagain(token=b'x' * 16)\nexactly(99)\n", "another token");
}
END_TEST

START_TEST(drops_who_returns_from_another_session)
{
    drops_bad_frames(_i, "hello(caps=2)\nbegin()\nagain(session=78)\nexactly(99)\n", "another session");
}
END_TEST

START_TEST(drops_who_returns_from_the_future)
{
    drops_bad_frames(_i, "hello(caps=2)\nbegin()\nagain(last=3)\nexactly(99)\n", "never sent");
}
END_TEST

START_TEST(drops_who_returns_from_the_past)
{
    drops_bad_frames(
        _i, "hello(caps=2)\nbegin()\noutput(0xffffffff, 1, b'')\nwait_ack(1)\nagain(last=1)\nexactly(99)\n",
        "without commands that it had acknowledged");
}
END_TEST

START_TEST(drops_who_returns_without_hello)
{
    drops_bad_frames(
        _i, "hello(caps=2)\nbegin()\nanother()\nsock.sendall(PREAMBLE)\noutput(0, 1, b'x')\nexactly(99)\n",
        "did not begin with HELLO");
}
END_TEST

START_TEST(drops_who_is_cut_for_ever)
{
    if (all_cases[_i].slow_again) /* another pipe is another process */
        cuts_max = 10;
    drops_within(_i, "hello(caps=2)\nbegin()\nwhile True: again()\n", "again and again", 60);
}
END_TEST

START_TEST(drops_who_cannot_return)
{
    drops_bad_frames(_i, "hello(caps=1)\nbegin()\nsock.close()\nwait_end()\nsys.exit(9)\n",
                     "ended with status 9");
}
END_TEST

/* Nobody answers on the new pipe; what is said there later is not heard. */
START_TEST(gives_up_who_does_not_return)
{
    reconnect_ms = 500;
    WITH_PEER(
        f,
        "hello(caps=2)\nbegin()\noutput(0xffffffff, 1, b'1 ')\nwait_ack(1)\nsock.close()\ntime.sleep(2)\n"
        "again()\noutput(0xffffffff, 2, b'2 ')\nwait_end()\nsys.exit(0)\n",
        0);
    expect_down(&f, false, "nothing took it up again within 0.5 s", 20);
    ck_assert_ptr_null(await(&f, XD_MSG_OUTPUT, 1, 3));
    expect_outputs(&f, 1);
    END_PEER(f);
}
END_TEST

/* That it has ended is told by its end, not by a time that runs out. */
START_TEST(tells_at_once_of_an_agent_that_has_ended)
{
    uint64_t begun = xd_clock_ns();
    WITH_PEER(f, "hello(caps=2)\nbegin()\nsys.exit(9)\n", 0);
    expect_down(&f, false, "ended with status 9", 20);
    ck_assert_uint_lt(xd_clock_ns() - begun, 10 * XD_S_NS);
    END_PEER(f);
}
END_TEST
