"""Settings, and the only reader of the environment."""

if __name__ != "botvisor.config":
    raise ImportError(f"this folder installs as 'botvisor.config': import botvisor.config, not {__name__}")

from .env import in_kubernetes as in_kubernetes
from .env import load_settings as load_settings
from .env import read_secret as read_secret
from .env_file import add_env_file as add_env_file
from .secret import Secret as Secret
from .settings import Settings as Settings
