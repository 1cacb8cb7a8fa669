import java.io.IOException;
import java.io.UncheckedIOException;
import me.chanjar.weixin.mp.config.impl.WxMpDefaultConfigImpl;

/** Has WxJava (weixin-java-mp) take the access token of an official account from token-server. */
public class TokenServerConfig extends WxMpDefaultConfigImpl {
  private final transient TokenServer server;
  private final String realm, key;

  public TokenServerConfig(TokenServer server, String realm, String key) {
    this.server = server;
    this.realm = realm;
    this.key = key;
  }

  /** WxJava asks for it before each call of WeChat. */
  @Override
  public String getAccessToken() {
    return served(() -> server.token(realm, key)).token();
  }

  /** So WxJava never asks WeChat for one. */
  @Override
  public boolean isAccessTokenExpired() {
    return false;
  }

  /** WxJava calls it where WeChat refuses the token (40001, 40014, 42001), and then tries once more. */
  @Override
  public void expireAccessToken() {
    served(() -> new TokenUse(server).refused(realm, key, server.token(realm, key).generation()));
  }

  private interface Ask {
    TokenServer.Token ask() throws IOException, InterruptedException;
  }

  private static TokenServer.Token served(Ask ask) {
    try {
      return ask.ask();
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    } catch (InterruptedException error) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException(error);
    }
  }
}
