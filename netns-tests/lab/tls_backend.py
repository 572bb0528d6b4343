"""A backend in clear that answers as a case wants it to."""
from lab.wait import until

SCRIPT = """
import asyncio, resource, socket, struct, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
async def endless(reader, writer):
    while True:
        writer.write(bytes(65536))
        await writer.drain()
async def breaks(reader, writer):
    writer.write(bytes(65536))
    await writer.drain()
    await reader.read(1)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
async def leaves(reader, writer):
    writer.write(b"bye")
    writer.close()
async def answer(reader, writer):
    try:
        await globals()[sys.argv[1]](reader, writer)
    except ConnectionError:
        writer.close()
async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", int(sys.argv[2]), backlog=4096)
    await server.serve_forever()
asyncio.run(main())
"""


def backend(host, manner, port):
    """Starts one that is `echo`, `endless`, `breaks` (in the middle, with a reset) or `leaves` (properly); its address."""
    host.start("python3", "-c", SCRIPT, manner, port)
    until(lambda: f":{port} " in host.run("ss", "-Htln"), 15, f"the backend {manner}")
    return f"127.0.0.1:{port}"
