"""Ascend hardware: what its tools print and its files say, as typed records; and each product's own data. Pure.

One module reads one kind of text; text goes in, records come out, and what cannot be read is refused.

| what is read | module |
| --- | --- |
| `npu-smi info`, `npu-smi info -m` | npu_smi, its table npu_smi_table |
| `npu-smi info -t health, usages, common, memory, ecc` | npu_smi_queries |
| `npu-smi info -l`, `-h`, `-t board, topo, spod-info` | npu_smi_cards, an SDID super_pod |
| `npu-smi info -t proc-mem, current-fault-event` | npu_smi_events |
| any of these: which one is it? | npu_smi_answer |
| `hccn_tool -g` of addresses, routes, MTU, TLS | hccn_settings |
| `hccn_tool -g` of link, health, neighbour, counters | hccn_port, of the optical module hccn_optical |
| `hccn_tool -ping`, `-hccs_ping` | hccn_ping |
| any of these: which one is it? | hccn_tool |
| /etc/hccn.conf | hccn_conf |
| version.info of driver and firmware, /etc/ascend_install.info, CANN's install info | driver_files |
| `lspci` | lspci |
| Docker's daemon.json | daemon_json |

Records and the errors of refusals: npu_smi_records (the table), npu_smi_query_records (-l and -t), hccn_records.
What the parsers of a tool share: npu_smi_text (lines), npu_smi_fields ("key : value"), npu_smi_blocks (a block a
chip), hccn_lines; of all: lines, unreadable. What is known rather than read: catalog (products), fault_codes
(error codes), versions (their order).
"""
