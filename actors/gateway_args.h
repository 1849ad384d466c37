/* actors/gateway_args.h - what a gateway is started with, of a run's options: for a run, and for a look at its hosts. Pure. */
#pragma once
#include "engine/folders.h"
#include "gateways/gateway.h"

/* For the environment `number`, whose spec is borrowed as long as the gateway runs; where: folders of this program. The caller adds what is
 * of a run alone: scratch folder, JUnit file. Errors as xd_transport_choose. */
int xd_gateway_args_make(xd_gateway_args *ret, const xd_config *cfg, const xd_xspec *spec, uint16_t number,
                         const xd_folders *where, xd_error *err) XD_MUST;
