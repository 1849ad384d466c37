/* tools/xdserve/zmq_stubs.c - what Debian's libzmq.a refers to and no static library has: NORM (its libnorm.a lacks a part) and
 * GSSAPI (there is no static Kerberos). Only transports and a mechanism that we never use call it; each fails. */
#include <stdint.h>

#define NULL_HANDLE(name)          \
    extern const void *const name; \
    const void *const        name = 0;
#define FAILS_WITH_0(name) \
    intptr_t name(void);   \
    intptr_t name(void)    \
    {                      \
        return 0;          \
    }
#define FAILS_WITH_GSS_S_FAILURE(name) \
    uint32_t name(void);               \
    uint32_t name(void)                \
    {                                  \
        return 13u << 16;              \
    }

NULL_HANDLE(NORM_INSTANCE_INVALID)
NULL_HANDLE(NORM_OBJECT_INVALID)
NULL_HANDLE(NORM_SESSION_INVALID)
extern const uint32_t NORM_NODE_ANY;
const uint32_t        NORM_NODE_ANY = UINT32_MAX;

FAILS_WITH_0(NormCreateInstance)
FAILS_WITH_0(NormCreateSession)
FAILS_WITH_0(NormDestroyInstance)
FAILS_WITH_0(NormDestroySession)
FAILS_WITH_0(NormGetDescriptor)
FAILS_WITH_0(NormGetNextEvent)
FAILS_WITH_0(NormGetRandomSessionId)
FAILS_WITH_0(NormIsUnicastAddress)
FAILS_WITH_0(NormNodeDelete)
FAILS_WITH_0(NormObjectGetType)
FAILS_WITH_0(NormObjectGetUserData)
FAILS_WITH_0(NormObjectSetUserData)
FAILS_WITH_0(NormSetCongestionControl)
FAILS_WITH_0(NormSetDefaultSyncPolicy)
FAILS_WITH_0(NormSetDefaultUnicastNack)
FAILS_WITH_0(NormSetLoopback)
FAILS_WITH_0(NormSetMulticastInterface)
FAILS_WITH_0(NormSetRxPortReuse)
FAILS_WITH_0(NormSetTTL)
FAILS_WITH_0(NormStartReceiver)
FAILS_WITH_0(NormStartSender)
FAILS_WITH_0(NormStopInstance)
FAILS_WITH_0(NormStopReceiver)
FAILS_WITH_0(NormStopSender)
FAILS_WITH_0(NormStreamFlush)
FAILS_WITH_0(NormStreamOpen)
FAILS_WITH_0(NormStreamRead)
FAILS_WITH_0(NormStreamSeekMsgStart)
FAILS_WITH_0(NormStreamWrite)

NULL_HANDLE(GSS_C_NT_HOSTBASED_SERVICE)
NULL_HANDLE(GSS_C_NT_USER_NAME)
FAILS_WITH_GSS_S_FAILURE(gss_accept_sec_context)
FAILS_WITH_GSS_S_FAILURE(gss_acquire_cred)
FAILS_WITH_GSS_S_FAILURE(gss_delete_sec_context)
FAILS_WITH_GSS_S_FAILURE(gss_display_name)
FAILS_WITH_GSS_S_FAILURE(gss_import_name)
FAILS_WITH_GSS_S_FAILURE(gss_init_sec_context)
FAILS_WITH_GSS_S_FAILURE(gss_release_buffer)
FAILS_WITH_GSS_S_FAILURE(gss_release_cred)
FAILS_WITH_GSS_S_FAILURE(gss_release_name)
FAILS_WITH_GSS_S_FAILURE(gss_unwrap)
FAILS_WITH_GSS_S_FAILURE(gss_wrap)
