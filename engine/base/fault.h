/* engine/base/fault.h - places where a test steps in: a thread held up between two steps, a call that fails.
 * A test program defines XD_FAULTS for the source under test and brings xd_fault; anywhere else XD_FAULT is nothing. */
#pragma once

#ifdef XD_FAULTS
void xd_fault(const char *site); /* on the thread that comes by */
#define XD_FAULT(site) xd_fault(site)
#else
#define XD_FAULT(site) ((void)0)
#endif
