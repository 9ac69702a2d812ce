/* SPDX-License-Identifier: Apache-2.0 */
/* docs/control.openapi.json, as GET /v1/openapi.json serves it. */
	.section .rodata
	.globl uvmm_openapi, uvmm_openapi_end
uvmm_openapi:
	.incbin UVMM_OPENAPI
uvmm_openapi_end:
	.section .note.GNU-stack,"",@progbits
