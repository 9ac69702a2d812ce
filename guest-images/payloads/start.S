// SPDX-License-Identifier: Apache-2.0
// Where a payload begins: in the state of Linux's 64-bit boot protocol, %rsi at boot_params.
        .section .text.start, "ax"
        .globl  startup_64
startup_64:
        lea     stack_top(%rip), %rsp
        mov     %rsi, %rdi
        xor     %ebp, %ebp
        call    payload_start
1:      hlt
        jmp     1b

        .section .bss.stack, "aw", @nobits
        .balign 16
        .skip   16384
stack_top:

        .section .note.GNU-stack, "", @progbits
