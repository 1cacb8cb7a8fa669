package me.chanjar.weixin.mp.config.impl;

import java.io.Serializable;

/** What the adapter overrides of the class of this name in weixin-java-mp, by its documented signatures. */
public class WxMpDefaultConfigImpl implements Serializable {
  public String getAccessToken() {
    throw new IllegalStateException("asked WeChat itself");
  }

  public boolean isAccessTokenExpired() {
    return true;
  }

  public void expireAccessToken() {
    throw new IllegalStateException("asked WeChat itself");
  }
}
