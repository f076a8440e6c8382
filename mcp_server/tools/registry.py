"""Every tool there is, in the order in which a model is told."""

from collections.abc import Mapping
from types import MappingProxyType

from mcp_server.fence.grant import ToolName
from mcp_server.tools.apply_edits import APPLY_EDITS
from mcp_server.tools.delete_path import DELETE_PATH
from mcp_server.tools.edit_file import EDIT_FILE
from mcp_server.tools.file_info import FILE_INFO
from mcp_server.tools.find_files import FIND_FILES
from mcp_server.tools.grep import GREP
from mcp_server.tools.list_directory import LIST_DIRECTORY
from mcp_server.tools.make_directory import MAKE_DIRECTORY
from mcp_server.tools.move_path import MOVE_PATH
from mcp_server.tools.read_file import READ_FILE
from mcp_server.tools.read_files import READ_FILES
from mcp_server.tools.tool import Tool
from mcp_server.tools.write_file import WRITE_FILE

TOOLS: Mapping[ToolName, Tool] = MappingProxyType(
    {
        tool.name: tool
        for tool in (
            READ_FILE,
            READ_FILES,
            WRITE_FILE,
            EDIT_FILE,
            APPLY_EDITS,
            LIST_DIRECTORY,
            FIND_FILES,
            GREP,
            FILE_INFO,
            MAKE_DIRECTORY,
            MOVE_PATH,
            DELETE_PATH,
        )
    }
)
