"""The wire: one servicer a service, conversion, field rules, statuses. Nothing else imports gRPC.

Servicers decode, call and encode; `GuardInterceptor` is what every call goes through.
"""

from imgd_server.rpc._listen import check_address
from imgd_server.rpc._server import GrpcServer
from imgd_server.rpc._system import RegistryInside

__all__ = ["GrpcServer", "RegistryInside", "check_address"]
